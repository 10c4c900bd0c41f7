/** What runs a pipeline needs from outside, and what it tells: a worker thread, the test kit or a simulation supplies it. */
import type { Clock } from "../../base/clock.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { Logger } from "../../base/logger.ts";
import type { PartitionedLog } from "../../log/contract/partitionedLog.ts";

/** Keeps the last checkpoint of each pipeline. `commit` resolves when it is durable; a crash leaves the old one or the new one, whole. */
export interface CheckpointStore {
  load(pipeline: string): Promise<Uint8Array | undefined>;
  commit(pipeline: string, checkpoint: Uint8Array): Promise<void>;
}

/** Named moments of a task, in order within an epoch; crash tests kill at them. */
export type TaskStep = "started" | "prepared" | "checkpointed" | "committing" | "committed" | "drained";

export interface TaskHost {
  readonly log: PartitionedLog;
  readonly checkpoints: CheckpointStore;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly baseDirectory: string;
  readonly options: TaskOptions;
  /** "committing" comes before each handle, the others once an epoch. */
  onStep?(step: TaskStep, epoch: number): void;
}

export interface TaskOptions {
  readonly checkpointIntervalMs: number;
  /** Records are pushed at most this many bytes of batches at a time, then the sinks drain. */
  readonly pullBytesMax: number;
}

export interface TaskStatus {
  readonly epoch: number;
  readonly recordsIn: number;
  readonly late: number;
  readonly dead: number;
  /** Rows that each sink has taken since the pipeline's first start, by sink id. */
  readonly rowsOut: Readonly<Record<string, number>>;
  /** ms; undefined before the first record. */
  readonly watermark: number | undefined;
  /** By "topic-partition": the next offset to be read. */
  readonly offsets: Readonly<Record<string, number>>;
  /** Why it does not get on now; it tries again by itself. */
  readonly trouble?: { readonly code: string; readonly message: string; readonly hint: string | undefined };
}

export interface Task {
  /** Resolves "stopped" after `stop`, "drained" after `drain`; rejects when the task failed (nothing after the last checkpoint counts). */
  readonly done: Promise<"stopped" | "drained">;
  status(): TaskStatus;
  /** Finishes the batch in hand, takes a checkpoint, closes. */
  stop(): Promise<void>;
  /** Takes in everything below the high watermarks of now, fires the last watermark, takes a checkpoint that says so, closes. */
  drain(): Promise<void>;
}
