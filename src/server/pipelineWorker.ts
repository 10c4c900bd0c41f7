/** The entry of a pipeline's thread: loads the bundle, runs the task, tells the node. Everything that it touches of the node's goes over messages. */
import { pathToFileURL } from "node:url";
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../base/clock.ts";
import { assert, MillraceError, toMillraceError } from "../base/errors.ts";
import type { LogFields, Logger } from "../base/logger.ts";
import { nodeFileSystem } from "../base/nodeFileSystem.ts";
import { connectLog } from "../log/remote/connectLog.ts";
import { fileCheckpointStore } from "../stream/checkpoint/fileCheckpointStore.ts";
import type { Task } from "../stream/contract/host.ts";
import type { Pipeline } from "../stream/pipeline.ts";
import { runTask } from "../stream/runTask.ts";
import { crashPoint } from "./crashPoint.ts";
import { toParts } from "./errorTransfer.ts";
import type { FromWorker, ToWorker, WorkerRun, WorkerStart } from "./pipelineMessages.ts";

const start = workerData as WorkerStart;
assert(parentPort !== null, "the pipeline's worker is started in a thread");
const node = parentPort;
const tell = (message: FromWorker): void => node.postMessage(message);

/** What was said before there was a task to hear it. */
const early: ToWorker[] = [];
let hear = (message: ToWorker): void => void early.push(message);
node.on("message", (message: ToWorker) => hear(message));

process.setSourceMapsEnabled(true); // stacks name the user's own lines
try {
  const pipeline = await loadPipeline();
  tell({ kind: "loaded", name: pipeline.name });
  if (start.run !== undefined) await run(pipeline, start.run);
} catch (error) {
  tell({ kind: "failed", error: toParts(error, "PIPELINE_FAILED", "the pipeline failed") });
}
node.close(); // nothing more to hear; the thread ends when its last work has

async function loadPipeline(): Promise<Pipeline> {
  const module = (await import(pathToFileURL(start.bundle).href).catch((error: unknown) => {
    throw toMillraceError(error, "PIPELINE_INVALID", "the pipeline file fails when it is loaded", {
      domain: "user",
      where: placeOf(error) ?? start.source,
      hint: "It must not do more than build a pipeline when it is imported.",
    });
  })) as { default?: unknown };
  if (isPipeline(module.default)) return module.default;
  throw new MillraceError("PIPELINE_INVALID", `the file's default export is ${kindOf(module)}, not a pipeline`, {
    domain: "user",
    where: start.source,
    hint: 'Write: export default pipeline("name", ({ source, sink }) => { ... });',
  });
}

async function run(pipeline: Pipeline, given: WorkerRun): Promise<void> {
  if ((await untilAsked()) === "stop") return tell({ kind: "done", how: "stopped" });
  const log = connectLog(given.log, nodeFileSystem);
  const crash = crashPoint(given.crashAt, pipeline.name);
  const task = await runTask(pipeline, {
    log,
    checkpoints: fileCheckpointStore({ fileSystem: nodeFileSystem, directory: given.checkpointDirectory }),
    fileSystem: nodeFileSystem,
    clock: systemClock,
    logger: new NodeLogger({ pipeline: pipeline.name }),
    baseDirectory: given.baseDirectory,
    options: given.options,
    ...(crash === undefined ? {} : { onStep: crash }),
  });
  obey(task);
  const status = setInterval(() => tell({ kind: "status", status: task.status() }), given.statusIntervalMs);
  try {
    const how = await task.done;
    tell({ kind: "status", status: task.status() });
    tell({ kind: "done", how });
  } finally {
    clearInterval(status);
    given.log.close();
  }
}

/** Resolves with the first thing that the node says. */
function untilAsked(): Promise<ToWorker["kind"]> {
  return new Promise((resolve) => {
    const waiting = hear;
    const first = early.shift();
    if (first !== undefined) return resolve(first.kind);
    hear = (message) => {
      hear = waiting;
      resolve(message.kind);
    };
  });
}

function obey(task: Task): void {
  hear = (message) => {
    // how these end is in `task.done`
    if (message.kind === "stop") task.stop().catch(() => undefined);
    if (message.kind === "drain") task.drain().catch(() => undefined);
  };
  for (const message of early.splice(0)) hear(message);
}

const isPipeline = (value: unknown): value is Pipeline =>
  typeof value === "object" && value !== null && (value as Partial<Pipeline>).kind === "pipeline";

const kindOf = (module: { default?: unknown }): string => {
  if (!("default" in module)) return "missing";
  return module.default === null ? "null" : `of type ${typeof module.default}`;
};

/** The first line of the stack that is in a file of the user's. */
function placeOf(error: unknown): string | undefined {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  const lines = stack.split("\n").filter((line) => !line.includes("node:internal"));
  return lines.map((line) => /\(?(?:file:\/\/)?(\/[^()]+:[0-9]+:[0-9]+)\)?$/.exec(line)?.[1]).find((place) => place !== undefined);
}

class NodeLogger implements Logger {
  constructor(private readonly fields: LogFields) {}

  debug = (message: string, fields?: LogFields): void => this.send("debug", message, fields);
  info = (message: string, fields?: LogFields): void => this.send("info", message, fields);
  warn = (message: string, fields?: LogFields): void => this.send("warn", message, fields);
  error = (message: string, fields?: LogFields): void => this.send("error", message, fields);
  child = (fields: LogFields): Logger => new NodeLogger({ ...this.fields, ...fields });

  private send(level: "debug" | "info" | "warn" | "error", message: string, fields: LogFields = {}): void {
    tell({ kind: "log", level, message, fields: cloneable({ ...this.fields, ...fields }) });
  }
}

/** Errors keep what they say; what cannot cross to another thread becomes text. */
function cloneable(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => {
      if (value instanceof Error) return [key, toParts(value, "ERROR", value.message)];
      return [key, typeof value === "object" && value !== null ? (JSON.parse(JSON.stringify(value)) as unknown) : primitive(value)];
    }),
  );
}

const primitive = (value: unknown): unknown => (typeof value === "function" || typeof value === "symbol" ? String(value) : value);
