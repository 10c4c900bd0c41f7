import type { Timer } from "../../../base/clock.ts";
import { MillraceError } from "../../../base/errors.ts";
import { saysNoRoom } from "../../../base/systemError.ts";
import { diskFull } from "../diskSpace.ts";
import { failedError } from "./partitionErrors.ts";
import type { PartitionFiles } from "./partitionFiles.ts";
import type { ReadableEnd } from "./partitionState.ts";
import type { PartitionSurroundings } from "./partitionSurroundings.ts";

/** After a failure the disk is tried again after so long, then after twice as long. */
const RETRY_MS = 500;
const RETRY_MS_MAX = 30_000;

/** The partition as its trouble sees it. */
export interface TroubledPartition {
  readonly where: string;
  readonly files: PartitionFiles;
  /** Where readers may go. */
  readonly published: ReadableEnd;
  /** A `damaged` one takes nothing any more, others nothing for now. */
  stop(failure: MillraceError, damaged: boolean): void;
  /** Everything from `end` on is gone, or goes now, and appends go on there. */
  goOnFrom(end: ReadableEnd): void;
  /** What was not durable yet fails, and the offsets from the end of the files on are given again. */
  giveUp(failure: MillraceError): void;
  /** Calls `retry` when nothing else is done to the files. */
  retrySoon(): void;
}

/** What a partition does after a failure: it goes back to what is surely on the disk, and on from there as soon as the disk lets it. */
export class PartitionTrouble {
  private current: MillraceError | undefined;
  /** What was in the files is not gone back from yet. */
  private halted = false;
  /** It was said that the disk is full, and nothing was appended since. */
  private saidFull = false;
  private retryTimer: Timer | undefined;
  private retryMs = RETRY_MS;
  private over = false;
  private timeIsUp = false;

  constructor(
    private readonly surroundings: PartitionSurroundings,
    private readonly partition: TroubledPartition,
  ) {}

  /** Why nothing is taken until the disk works again, or has room. */
  get reason(): MillraceError | undefined {
    return this.current;
  }

  /** Why nothing is done to the files until then: not because of a full disk, which only retention and deleting records make room on. */
  get standstill(): MillraceError | undefined {
    return this.halted ? this.current : undefined;
  }

  get retryIsDue(): boolean {
    return this.timeIsUp;
  }

  async fail(cause: unknown): Promise<void> {
    const { partition } = this;
    const failure = namedFailure(cause, partition.where);
    this.current = failure;
    this.halted = true;
    const damaged = failure.code === "LOG_CORRUPT";
    this.over ||= damaged;
    partition.stop(failure, damaged);
    const isFull = failure.code === "LOG_DISK_FULL";
    if (!(isFull && this.saidFull)) {
      this.surroundings.logger.error("a partition takes nothing for now", { partition: partition.where, error: failure.toText() });
    }
    this.saidFull = isFull;
    const published = partition.published.offset;
    await this.repair();
    this.halted = partition.files.broken;
    // a full disk may let a part through: what could not be cut again, or was synced before a roll that failed, is not refused for sure
    const isUnclear = partition.files.broken || partition.files.end.offset > published;
    partition.giveUp(isUnclear && isFull ? failedError(partition.where, cause) : failure);
    if (this.halted || isFull) this.retryLater();
    else this.current = undefined;
  }

  /** Never rejects. */
  async retry(): Promise<void> {
    this.timeIsUp = false;
    if (this.over) return;
    await this.repair();
    this.halted = this.partition.files.broken;
    if (this.halted) return this.retryLater();
    this.current = undefined;
    this.retryMs = RETRY_MS;
  }

  /** Something was: the disk has room. */
  appended(): void {
    if (!this.saidFull) return;
    this.saidFull = false;
    this.surroundings.logger.info("there is room on the disk again: a partition takes records", { partition: this.partition.where });
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
      partition.goOnFrom(await partition.files.repair(partition.published, (synced) => this.goBack(synced)));
    } catch (error) {
      logger.warn("a partition's disk does not work yet", { partition: partition.where, error });
    }
  }

  private goBack(synced: ReadableEnd): void {
    const { where, published } = this.partition;
    if (synced.offset < published.offset) {
      const { logger } = this.surroundings;
      logger.error("what was not synced yet is lost", { partition: where, from: synced.offset, to: published.offset - 1 });
    }
    this.partition.goOnFrom(synced);
  }

  private retryLater(): void {
    if (this.retryTimer !== undefined) return;
    this.retryTimer = this.surroundings.clock.after(this.retryMs, () => {
      this.retryTimer = undefined;
      this.timeIsUp = true;
      this.partition.retrySoon();
    });
    this.retryMs = Math.min(this.retryMs * 2, RETRY_MS_MAX);
  }
}

const namedCodes: ReadonlySet<string> = new Set(["LOG_CORRUPT", "LOG_DISK_FULL", "LOG_NOT_OPENED"]);

function namedFailure(cause: unknown, where: string): MillraceError {
  if (cause instanceof MillraceError && namedCodes.has(cause.code)) return cause;
  return saysNoRoom(cause) ? diskFull(where, undefined, 0, cause) : failedError(where, cause);
}
