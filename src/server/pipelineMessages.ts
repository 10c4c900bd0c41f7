/** What the node and a pipeline's worker say to each other. */
import type { MessagePort } from "node:worker_threads";
import type { LogFields } from "../base/logger.ts";
import type { TaskOptions, TaskStatus } from "../stream/contract/host.ts";
import type { ErrorParts } from "./errorTransfer.ts";

export interface WorkerStart {
  /** The user's file, for messages. */
  readonly source: string;
  /** The bundle to import. */
  readonly bundle: string;
  /** undefined: only load it, connect its streams, and say what it is. */
  readonly run: WorkerRun | undefined;
}

export interface WorkerRun {
  readonly log: MessagePort;
  readonly checkpointDirectory: string;
  readonly baseDirectory: string;
  readonly options: TaskOptions;
  readonly statusIntervalMs: number;
  readonly crashAt: string | undefined;
}

export type ToWorker = { readonly kind: "go" } | { readonly kind: "stop" } | { readonly kind: "drain" };

export type FromWorker =
  /** It is a pipeline of this name; the worker waits for "go". */
  | { readonly kind: "loaded"; readonly name: string }
  | { readonly kind: "status"; readonly status: TaskStatus }
  | { readonly kind: "log"; readonly level: "debug" | "info" | "warn" | "error"; readonly message: string; readonly fields: LogFields }
  | { readonly kind: "done"; readonly how: "stopped" | "drained" }
  | { readonly kind: "failed"; readonly error: ErrorParts };
