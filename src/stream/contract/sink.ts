/**
 * The contract of a sink connector. A connector is one file with an exported function that returns a `Sink`.
 *
 * Exactly once: the engine takes a checkpoint in this order
 *   1. `snapshot(epoch)` of every sink: everything written so far is durable under a temporary name
 *   2. the checkpoint (source offsets, operator state, all pending handles, all resumes) is durable
 *   3. `commit(handle)` of every pending handle, then `committed()` (directories synced)
 * After a crash the engine opens the sink with the `resume` of the last checkpoint and commits its pending handles again.
 *
 * What an error means: a MillraceError with `retryable` fails the task and the engine starts it again from the last checkpoint, with
 * backoff; one without fails the pipeline until somebody acts. ROW_REFUSED (domain user) is the row's fault: the row goes
 * to `<pipeline>.dead` and the task goes on.
 */
import type { Clock } from "../../base/clock.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { Logger } from "../../base/logger.ts";
import type { Json } from "../../log/contract/keyedStore.ts";
import type { PartitionedLog } from "../../log/contract/partitionedLog.ts";
import type { RowSchema } from "./columns.ts";

/** Plain JSON: it goes into the checkpoint. Committing it any number of times has one result. */
export type Handle = { readonly [key: string]: Json };

export interface SinkContext {
  readonly pipeline: string;
  /** The sink's id, stable over restarts. */
  readonly id: string;
  /** What the last checkpoint's `snapshot` returned; undefined on the first start. */
  readonly resume: Json | undefined;
  /** Handles of the last checkpoint: each is committed (again) before the first `write`; no other temporary file is live. */
  readonly pending: readonly Handle[];
  /** Names derived from it never collide with those of an earlier start: the next epoch to be snapshotted. */
  readonly epoch: number;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly log: PartitionedLog;
  /** A relative path of a sink is relative to this. */
  readonly baseDirectory: string;
}

export interface SinkWriter {
  /**
   * Takes a row; synchronous, so that it happens within the record's push. `columns` is the same object for every row of this sink (pinned),
   * until a column gets its first value: then it is a longer one, whose first columns are the ones before. `place` is valid during the call.
   * Throws ROW_REFUSED before anything of the row is kept.
   */
  write(row: unknown, columns: RowSchema, place: RowPlace): void;
  /** Called after each drained batch: resolves when the writer's buffers are under their limit again. */
  drained(): Promise<void>;
  /** Everything written so far is durable when it resolves, under a name that no reader takes for a result. */
  snapshot(epoch: number): Promise<{ readonly pending: readonly Handle[]; readonly resume: Json }>;
  /** Makes it visible. A handle whose data is neither pending nor final is an error (SINK_HANDLE_LOST), never skipped. */
  commit(handle: Handle): Promise<void>;
  /** After the last `commit` of an epoch: what they did is durable (directories synced). */
  committed(): Promise<void>;
  /** Asked after each drained batch: true when the writer's buffer is full until the next checkpoint, which is then taken at once. */
  checkpointWanted?(): boolean;
  /** Gives up what was not snapshotted; temporary files of it may stay, the next `open` removes them. */
  close(): Promise<void>;
}

/** Where a row came from: the record that was being pushed when it was written (for a window: the last one before it fired). */
export interface RowPlace {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** Event time, ms. */
  readonly timestamp: number;
  /** The key that the row was grouped by, as text; undefined if it was not. */
  readonly key?: string | undefined;
}

/** W = "columns": the rows' type must have a column type for every property (see NoBadColumn). */
export interface Sink<in T, out W = "anything"> {
  readonly kind: "sink";
  /** For people: "parquet out/hourly-delays". Also the sink's default id. */
  readonly name: string;
  /** Columns given by hand, first of all rules. */
  readonly columns?: Readonly<Record<string, RowColumnType>> | undefined;
  readonly wants: W;
  open(context: SinkContext): Promise<SinkWriter>;
  /** Phantom: what rows it takes. Never called. */
  readonly accepts?: (row: T) => void;
}

type RowColumnType = import("./columns.ts").ColumnType;
