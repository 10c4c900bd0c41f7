import type { TopicConfig } from "../../contract/partitionedLog.ts";
import { COPIED_BYTES_MAX } from "./openBatches.ts";
import type { PartitionFiles } from "./partitionFiles.ts";

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

  /**
   * @param isBusy there is something to do, or on its way to be done.
   * @param left what was begun is to be cut.
   */
  constructor(
    private readonly files: PartitionFiles,
    private readonly config: TopicConfig,
    private readonly isBusy: () => boolean,
    private readonly left: () => void,
  ) {}

  /**
   * Is it a good time for it? Not if more small ones are likely to come in this turn: one write is better than two. And not for whoever sends
   * damaged ones again and again.
   */
  suits(batch: Buffer): boolean {
    if (this.isBusy() || !this.trusts || this.config.sync.kind !== "always") return false;
    return this.waiters <= 1 || batch.length >= COPIED_BYTES_MAX;
  }

  /** A flush is over for which so many wait. */
  landed(waiters: number): void {
    this.waiters = waiters;
    this.trusts = true;
  }

  /** False: not now. */
  begin(batch: Buffer): boolean {
    return this.files.writeAhead(batch);
  }

  /** Is it this one that was begun? */
  isOf(batch: Buffer): boolean {
    const { ahead } = this.files;
    return ahead?.bytes === batch && !ahead.left;
  }

  leave(): void {
    const { ahead } = this.files;
    if (ahead !== undefined) ahead.left = true;
    this.trusts = false;
    this.left();
  }
}
