/** The entry of a pipeline's thread: loads the bundle, runs the task, tells the node. Everything that it touches of the node's goes over messages. */
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../base/clock.ts";
import { assert } from "../base/errors.ts";
import { nodeFileSystem } from "../base/nodeFileSystem.ts";
import { connectLog } from "../log/remote/connectLog.ts";
import { fileCheckpointStore } from "../stream/checkpoint/fileCheckpointStore.ts";
import type { Task } from "../stream/contract/host.ts";
import { buildGraph } from "../stream/engine/buildGraph.ts";
import type { Pipeline } from "../stream/pipeline.ts";
import { runTask } from "../stream/runTask.ts";
import { crashPoint } from "./crashPoint.ts";
import { toParts } from "./errorTransfer.ts";
import { loadPipeline, placeOf } from "./loadPipeline.ts";
import type { FromWorker, ToWorker, WorkerRun, WorkerStart } from "./pipelineMessages.ts";
import { WorkerLogger } from "./workerLogger.ts";

const start = workerData as WorkerStart;
assert(parentPort !== null, "the pipeline's worker is started in a thread");
const node = parentPort;
const tell = (message: FromWorker): void => node.postMessage(message);

/** What was said before there was a task to hear it. */
const early: ToWorker[] = [];
let hear = (message: ToWorker): void => void early.push(message);
node.on("message", (message: ToWorker) => hear(message));

async function run(pipeline: Pipeline, given: WorkerRun): Promise<void> {
  if ((await untilAsked()) === "stop") return tell({ kind: "done", how: "stopped" });
  const log = connectLog(given.log, nodeFileSystem);
  const crash = crashPoint(given.crashAt, pipeline.name);
  const task = runTask(pipeline, {
    log,
    checkpoints: fileCheckpointStore({ fileSystem: nodeFileSystem, directory: given.checkpointDirectory }),
    fileSystem: nodeFileSystem,
    clock: systemClock,
    logger: new WorkerLogger(tell, { pipeline: pipeline.name }),
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

process.setSourceMapsEnabled(true); // stacks name the user's own lines
try {
  const pipeline = await loadPipeline(start.source, start.bundle);
  if (start.run === undefined) buildGraph(pipeline, new WorkerLogger(tell, { pipeline: pipeline.name }));
  tell({ kind: "loaded", name: pipeline.name });
  if (start.run !== undefined) await run(pipeline, start.run);
} catch (error) {
  const parts = toParts(error, "PIPELINE_FAILED", "the pipeline failed");
  const inTheirCode = parts.domain === "user" && parts.where === undefined;
  tell({
    kind: "failed",
    error: inTheirCode ? { ...parts, where: placeOf((error as Error).cause) ?? placeOf(error) ?? start.source } : parts,
  });
}
node.close(); // nothing more to hear; the thread ends when its last work has
