/** The engine's part of the sink protocol, as small as it can be: a checkpoint is one assignment, so it is durable whole or not at all. */

import { systemClock } from "../../../src/base/clock.ts";
import type { FileSystem } from "../../../src/base/fileSystem.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import type { Json } from "../../../src/log/contract/keyedStore.ts";
import type { RowSchema } from "../../../src/stream/contract/columns.ts";
import type { Handle, Sink, SinkContext, SinkWriter } from "../../../src/stream/contract/sink.ts";
import { MemoryLog } from "../../../src/stream/testing/memoryLog.ts";
import type { Row } from "./encode.ts";

export interface Checkpoint {
  readonly epoch: number;
  /** Rows that are in it. */
  readonly position: number;
  readonly pending: readonly Handle[];
  readonly resume: Json | undefined;
}

const epochsMax = 10_000;

export const noCheckpoint: Checkpoint = { epoch: 0, position: 0, pending: [], resume: undefined };

/** Moments between two steps of the protocol, in order. */
export type Moment = "opened" | "recommitted" | "written" | "drained" | "snapshotted" | "checkpointed" | "committedOne" | "committed";

export function sinkContext(fileSystem: FileSystem, baseDirectory: string, checkpoint = noCheckpoint, id = "parquet out"): SinkContext {
  return {
    pipeline: "hourly-delays",
    id,
    resume: checkpoint.resume,
    pending: checkpoint.pending,
    epoch: checkpoint.epoch + 1,
    fileSystem,
    clock: systemClock,
    logger: silentLogger,
    log: new MemoryLog(), // a file sink needs none
    baseDirectory,
  };
}

export interface SinkRunOptions {
  readonly sink: Sink<never, "columns">;
  readonly columns: RowSchema;
  readonly rows: readonly Row[];
  readonly baseDirectory: string;
  /** Rows of the next epoch. */
  readonly rowsOfEpoch: (epoch: number) => number;
  /** May throw: the process ends there. */
  readonly at?: (moment: Moment, epoch: number) => void;
}

export class SinkRun {
  checkpoint = noCheckpoint;

  constructor(private readonly options: SinkRunOptions) {}

  /** From the last checkpoint to the last row, or to the error that ends this life. */
  async life(fileSystem: FileSystem): Promise<void> {
    const { sink, rows, baseDirectory } = this.options;
    const writer = await sink.open(sinkContext(fileSystem, baseDirectory, this.checkpoint));
    this.at("opened");
    await this.commit(writer);
    this.at("recommitted");
    while (this.checkpoint.position < rows.length) {
      if (this.checkpoint.epoch > epochsMax) throw new Error(`${epochsMax} epochs were not enough for ${rows.length} rows`);
      await this.runEpoch(writer);
    }
    await writer.close();
  }

  private async runEpoch(writer: SinkWriter): Promise<void> {
    const { rows, columns, rowsOfEpoch } = this.options;
    const epoch = this.checkpoint.epoch + 1;
    let { position } = this.checkpoint;
    for (const end = Math.min(rows.length, position + rowsOfEpoch(epoch)); position < end; position++) {
      writer.write(rows[position], columns, { topic: "flights", partition: position % 2, offset: position, timestamp: position });
      if (position % 50 === 0) await writer.drained();
    }
    this.at("written");
    await writer.drained();
    this.at("drained");
    const { pending, resume } = await writer.snapshot(epoch);
    this.at("snapshotted");
    this.checkpoint = { epoch, position, pending: JSON.parse(JSON.stringify(pending)) as Handle[], resume };
    this.at("checkpointed");
    await this.commit(writer);
    this.at("committed");
  }

  private async commit(writer: SinkWriter): Promise<void> {
    for (const handle of this.checkpoint.pending) {
      await writer.commit(handle);
      this.at("committedOne");
    }
    await writer.committed();
  }

  private at(moment: Moment): void {
    this.options.at?.(moment, this.checkpoint.epoch);
  }
}
