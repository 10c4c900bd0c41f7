import type { TopicConfig } from "../../contract/partitionedLog.ts";
import { COPIED_BYTES_MAX } from "./openBatches.ts";
import type { PartitionFiles } from "./partitionFiles.ts";

/** The partition as its write ahead sees it. */
export interface AheadPartition {
  /** There is something to do, or on its way to be done. */
  readonly isBusy: boolean;
  readonly files: PartitionFiles;
  /** What was begun is to be cut. */
  left(): void;
}

/**
 * Begins to write a batch of which only the checksum is still to be looked at, in the place that it would have, when there is nothing else to
 * do. In the same turn it is taken, as the first of the next flush, or left. Nobody sees it before its flush is over, and what is left
 * is cut before anything else is written; if the process ends meanwhile, it is a torn end.
 */
export class WriteAhead {
  /** Of the last flush. */
  private waiters = 0;
  /** The last one was not left. */
  private trusts = true;

  constructor(
    private readonly partition: AheadPartition,
    private readonly config: TopicConfig,
  ) {}

  /**
   * Is it a good time for it? Not if more small ones are likely to come in this turn: one write is better than two. And not for whoever sends
   * damaged ones again and again.
   */
  suits(batch: Buffer): boolean {
    if (this.partition.isBusy || !this.trusts || this.config.sync.kind !== "always") return false;
    return this.waiters <= 1 || batch.length >= COPIED_BYTES_MAX;
  }

  /** A flush is over for which so many wait. */
  landed(waiters: number): void {
    this.waiters = waiters;
    this.trusts = true;
  }

  /** False: not now. */
  begin(batch: Buffer): boolean {
    return this.partition.files.writeAhead(batch);
  }

  /** Is it this one that was begun? */
  isOf(batch: Buffer): boolean {
    const { ahead } = this.partition.files;
    return ahead?.bytes === batch && !ahead.left;
  }

  leave(): void {
    const { ahead } = this.partition.files;
    if (ahead !== undefined) ahead.left = true;
    this.trusts = false;
    this.partition.left();
  }
}
