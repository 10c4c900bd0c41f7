/** A node of the build, as a process of its own or in this one, in a folder that goes away. */
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, expect } from "vitest";
import { ask } from "../../src/cli/controlClient.ts";
import { runningNode } from "../../src/cli/runningNode.ts";
import type { ControlRequest } from "../../src/server/control.ts";
import type { NodeStatus } from "../../src/server/status.ts";
import { untilTrue } from "../support/until.ts";

const root = path.resolve(import.meta.dirname, "../..");
const entry = path.join(root, "dist/src/millrace.cjs");

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

export function cleanUp(step: () => Promise<void> | void): void {
  cleanups.push(step);
}

export function temporaryFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-test-"));
  cleanUp(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

export class Command {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  out = "";
  err = "";

  /** @param prepare a line for the shell, in a mount namespace of its own; the command runs in it */
  constructor(args: readonly string[], cwd: string, environment: NodeJS.ProcessEnv = {}, prepare?: string) {
    const command = [process.execPath, entry, ...args] as const;
    const [program, ...rest] = prepare === undefined ? command : ["unshare", "-rm", "sh", "-c", `${prepare}; exec "$@"`, "sh", ...command];
    const child = spawn(program, rest, {
      cwd,
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.on("data", (chunk: Buffer) => (this.out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (this.err += chunk.toString()));
    this.child = child;
    this.ended = new Promise((resolve) => {
      child.on("close", (code, signal) => resolve({ code, signal, out: this.out, err: this.err }));
    });
    cleanUp(async () => {
      child.kill("SIGKILL");
      await this.ended;
    });
  }

  /** Resolves when `text` was printed on stderr; fails when the process ends without. */
  async says(text: string): Promise<void> {
    await untilTrue(() => {
      if (this.err.includes(text)) return true;
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`it ended with ${this.child.exitCode} and without saying ${text}:\n${this.err}`);
      return false;
    });
  }
}

export const millrace = (args: readonly string[], cwd: string, environment?: NodeJS.ProcessEnv): Command =>
  new Command(args, cwd, environment);

/** A node as a process. */
export const nodeProcess = (cwd: string, args: readonly string[], environment?: NodeJS.ProcessEnv): Command =>
  millrace(["start", "--data", "data", "--listeners.amqp.port", "0", ...args], cwd, environment);

/** The same, once it is ready. */
export async function startNode(cwd: string, args: readonly string[] = [], environment?: NodeJS.ProcessEnv): Promise<Command> {
  const node = nodeProcess(cwd, args, environment);
  await node.says("node is ready");
  return node;
}

/** The same, after a line for the shell that may mount something for this node only. */
export async function startNodeWithMounts(prepare: string, cwd: string, args: readonly string[]): Promise<Command> {
  const node = new Command(["start", "--data", "data", "--listeners.amqp.port", "0", ...args], cwd, {}, prepare);
  await node.says("node is ready");
  return node;
}

const tell = async (cwd: string, request: ControlRequest): Promise<unknown> =>
  ask((await runningNode(path.join(cwd, "data"))).socket, request);

/** As `millrace status` gets it, without the second that a process costs. */
export const statusOf = async (cwd: string): Promise<NodeStatus> => (await tell(cwd, { command: "status" })) as NodeStatus;

export async function pipelineOf(cwd: string, index = 0): Promise<NodeStatus["pipelines"][number]> {
  const found = (await statusOf(cwd)).pipelines[index];
  if (found === undefined) throw new Error("no such pipeline");
  return found;
}

/** What `millrace stop --drain` does, without the second that a process costs. */
export async function drained(node: Command, cwd: string): Promise<void> {
  await tell(cwd, { command: "stop", drain: true });
  expect(await node.ended).toMatchObject({ code: 0 });
}
