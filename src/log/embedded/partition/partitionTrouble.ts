import type { Timer } from "../../../base/clock.ts";
import { MillraceError } from "../../../base/errors.ts";
import { diskFull } from "../diskSpace.ts";
import { failedError } from "./partitionErrors.ts";
import type { PartitionFiles } from "./partitionFiles.ts";
import type { LogPosition, ReadableEnd } from "./partitionState.ts";
import type { PartitionSurroundings } from "./partitionSurroundings.ts";

/** After a failure the disk is tried again after so long, then after twice as long. */
const RETRY_MS = 500;
const RETRY_MS_MAX = 30_000;

/** The partition as its trouble sees it. */
export interface TroubledPartition {
  readonly where: string;
  readonly files: PartitionFiles;
  /** Where readers may go. */
  readonly published: LogPosition;
  /** A `damaged` one takes nothing any more, others nothing for now. */
  stop(failure: MillraceError, damaged: boolean): void;
  /** The files were cut: everything from `end` on is gone, and appends go on there. */
  goOnFrom(end: ReadableEnd): void;
  /** What was not durable yet fails, and the offsets from the end of the files on are given again. */
  giveUp(failure: MillraceError): void;
  /** Calls `retry` when nothing else is done to the files. */
  retrySoon(): void;
}

/** What a partition does after a failure: it goes back to what is surely on the disk, and on from there as soon as the disk lets it. */
export class PartitionTrouble {
  private current: MillraceError | undefined;
  private retryTimer: Timer | undefined;
  private retryMs = RETRY_MS;
  private over = false;
  private timeIsUp = false;

  constructor(
    private readonly surroundings: PartitionSurroundings,
    private readonly partition: TroubledPartition,
  ) {}

  /** Why nothing is taken until the disk works again. */
  get reason(): MillraceError | undefined {
    return this.current;
  }

  get retryIsDue(): boolean {
    return this.timeIsUp;
  }

  async fail(cause: unknown): Promise<void> {
    const { partition } = this;
    const failure = namedFailure(cause, partition.where);
    this.current = failure;
    const damaged = failure.code === "LOG_CORRUPT";
    this.over ||= damaged;
    partition.stop(failure, damaged);
    this.surroundings.logger.error("a partition takes nothing for now", { partition: partition.where, error: failure.toText() });
    const published = partition.published.offset;
    await this.repair();
    // a full disk may let a part through: what could not be cut again, or was synced before a roll that failed, is not refused for sure
    const isUnclear = partition.files.broken || partition.files.end.offset > published;
    partition.giveUp(isUnclear && failure.code === "LOG_DISK_FULL" ? failedError(partition.where, cause) : failure);
    if (partition.files.broken || failure.code === "LOG_DISK_FULL") this.retryLater();
    else this.current = undefined;
  }

  /** Never rejects. */
  async retry(): Promise<void> {
    this.timeIsUp = false;
    if (this.over) return;
    await this.repair();
    if (this.partition.files.broken) return this.retryLater();
    this.current = undefined;
    this.retryMs = RETRY_MS;
  }

  /** Does not try again from now on. */
  end(): void {
    this.over = true;
    this.retryTimer?.cancel();
  }

  private async repair(): Promise<void> {
    const { partition } = this;
    if (!partition.files.broken) return;
    const { logger } = this.surroundings;
    try {
      const end = await partition.files.repair();
      const { offset } = partition.published;
      if (end.offset < offset) {
        logger.error("what was not synced yet is lost", { partition: partition.where, from: end.offset, to: offset - 1 });
      }
      partition.goOnFrom(end);
    } catch (error) {
      logger.warn("a partition's disk does not work yet", { partition: partition.where, error });
    }
  }

  private retryLater(): void {
    this.retryTimer = this.surroundings.clock.after(this.retryMs, () => {
      this.timeIsUp = true;
      this.partition.retrySoon();
    });
    this.retryMs = Math.min(this.retryMs * 2, RETRY_MS_MAX);
  }
}

function namedFailure(cause: unknown, where: string): MillraceError {
  if (cause instanceof MillraceError && (cause.code === "LOG_CORRUPT" || cause.code === "LOG_DISK_FULL")) return cause;
  const full = (cause as NodeJS.ErrnoException).code === "ENOSPC";
  return full ? diskFull(where, undefined, 0, cause) : failedError(where, cause);
}
