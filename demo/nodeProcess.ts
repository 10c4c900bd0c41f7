/** The node under demonstration: a process of its own, started, killed and drained as an operator would. */
import type { ChildProcess } from "node:child_process";
import { openSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import { ask } from "../src/cli/controlClient.ts";
import { runningNode } from "../src/cli/runningNode.ts";
import type { NodeStatus } from "../src/server/status.ts";
import { type Children, type Exit, exitOf } from "./children.ts";
import { nodeEntry, pipelinePath } from "./paths.ts";

const READY_MS_MAX = 60_000;
const POLL_MS = 20;
const LOG_LINES_SHOWN = 20;

export class NodeProcess {
  starts = 0;
  readonly data: string;
  private readonly configFile: string;
  private readonly logFile: string;
  private child: ChildProcess | undefined;

  private constructor(
    private readonly directory: string,
    readonly port: number,
    private readonly children: Children,
  ) {
    this.data = path.join(directory, "data");
    this.configFile = path.join(directory, "millrace.yaml");
    this.logFile = path.join(directory, "node.log");
  }

  /** Writes its configuration; everything of it lies below `directory`, what the pipeline writes too. */
  static async create(directory: string, children: Children): Promise<NodeProcess> {
    const node = new NodeProcess(directory, await freePort(), children);
    await mkdir(directory, { recursive: true });
    const config = {
      data: node.data,
      listeners: { amqp: { port: node.port } },
      pipelines: [pipelinePath],
      // often, so that a minute's run shows many; and a kill costs little
      checkpoints: { "interval-ms": 1_000 },
      logging: { level: "info", format: "lines" },
    };
    await writeFile(node.configFile, stringify(config));
    return node;
  }

  /** The process that works in the directory, if there is one: another demo. */
  static async runningIn(directory: string): Promise<number | undefined> {
    return (await runningNode(path.join(directory, "data")).catch(() => undefined))?.pid;
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  get config(): string {
    return this.configFile;
  }

  /** Resolves when it takes connections. With `crashAt` it kills itself there, see src/server/crashPoint.ts. */
  async start(crashAt?: string): Promise<void> {
    this.starts++;
    const log = openSync(this.logFile, "a");
    const environment = { ...process.env, ...(crashAt === undefined ? {} : { MILLRACE_CRASH_AT: crashAt }) };
    const child = this.children.spawn([nodeEntry, "start", "--config", this.configFile], {
      cwd: this.directory,
      env: environment,
      stdio: ["ignore", log, log],
    });
    this.child = child;
    for (const since = performance.now(); !(await answers(this.port)); await sleep(POLL_MS)) {
      if (child.signalCode === "SIGKILL") return; // its crash point came first
      if (child.exitCode !== null) throw await this.failure(`the node ended with exit code ${child.exitCode}`);
      if (performance.now() - since > READY_MS_MAX) throw await this.failure(`the node took no connection within ${READY_MS_MAX} ms`);
    }
  }

  /** Resolves when it has ended, whoever ended it. */
  exited(): Promise<Exit> {
    if (this.child === undefined) throw new Error("the node was not started");
    return exitOf(this.child);
  }

  /** No notice, no cleaning up: what a power switch does to a process. */
  async kill(): Promise<void> {
    this.child?.kill("SIGKILL");
    await this.exited();
  }

  /** Takes in what is published, fires the last windows, commits, ends. */
  async drain(): Promise<void> {
    const stop = this.children.spawn([nodeEntry, "stop", "--drain", "--config", this.configFile], { stdio: ["ignore", "pipe", "pipe"] });
    const said: string[] = [];
    for (const stream of [stop.stdout, stop.stderr]) stream?.on("data", (chunk: Buffer) => said.push(chunk.toString()));
    const { code: stopCode } = await exitOf(stop);
    if (stopCode !== 0) throw await this.failure(`millrace stop --drain ended with exit code ${stopCode}:\n${said.join("")}`);
    const { code, signal } = await this.exited();
    if (code !== 0) throw await this.failure(`the node ended with ${code === null ? signal : `exit code ${code}`} after the drain`);
  }

  /** undefined while it does not answer. */
  async status(): Promise<NodeStatus | undefined> {
    try {
      const { socket } = await runningNode(this.data);
      return (await ask(socket, { command: "status" })) as NodeStatus;
    } catch {
      return undefined;
    }
  }

  /** With the end of its log. */
  async failure(what: string): Promise<Error> {
    const log = await readFile(this.logFile, "utf8").catch(() => "");
    const lines = log.trimEnd().split("\n").slice(-LOG_LINES_SHOWN);
    return new Error(`${what}\nThe end of ${this.logFile}:\n${lines.map((line) => `  ${line}`).join("\n")}`);
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    const settle = (open: boolean) => (): void => {
      socket.destroy();
      resolve(open);
    };
    socket.once("connect", settle(true)).once("error", settle(false));
  });
}

/** Below the ports that Linux gives to clients (32,768 and more), so that none of them gets it while the node is down. */
const PORT_MIN = 20_000;
const PORT_MAX = 32_000;

/** One port for all starts, so that clients find the node again. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
