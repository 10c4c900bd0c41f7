import { MillraceError } from "../../base/errors.ts";
import type { PartitionReader } from "../../log/contract/partitionedLog.ts";
import { endOffsetOf } from "../../record/batch.ts";
import { RecordCursor } from "../../record/recordCursor.ts";
import type { SourcePosition } from "../checkpoint/checkpoint.ts";
import type { SourceNode } from "./sourceNode.ts";

/** One partition as the engine reads it: a buffer of batches, the record in hand, how far event time has come. */
export class PartitionInput {
  /** The next offset to be pushed. */
  nextOffset: number;
  maxEventTime: number;
  /** The record in hand, if `hasRecord`. */
  cursor: RecordCursor = new RecordCursor(Buffer.alloc(0));
  hasRecord = false;
  /** Nothing at or above it is taken: where a drain ends. */
  limit = Number.POSITIVE_INFINITY;
  /** Caught up and silent for longer than idleAfter: it no longer holds the watermark back. */
  idle = false;
  private silentSince: number | undefined;
  /** One past the last offset in the buffer. */
  private bufferEnd = 0;

  constructor(
    readonly source: SourceNode,
    readonly reader: PartitionReader,
    before: SourcePosition | undefined,
  ) {
    this.nextOffset = before?.offset ?? reader.startOffset();
    this.maxEventTime = before?.maxEventTime ?? Number.NEGATIVE_INFINITY;
    this.checkPosition();
  }

  get watermark(): number {
    return this.maxEventTime - this.source.settings.outOfOrdernessMs;
  }

  get position(): SourcePosition {
    const { topic, partition } = this.reader;
    const maxEventTime = this.maxEventTime === Number.NEGATIVE_INFINITY ? null : this.maxEventTime;
    return { topic, partition, offset: this.nextOffset, maxEventTime };
  }

  /** There is something to read that is not in hand. */
  get hungry(): boolean {
    return !this.hasRecord && this.nextOffset < Math.min(this.reader.highWatermark(), this.limit);
  }

  get finished(): boolean {
    return !this.hasRecord && this.nextOffset >= this.limit;
  }

  /** Up to the next record, past batches that have none: those of an aborted transaction, say. */
  async fill(bytesMax: number): Promise<void> {
    while (this.hungry) {
      const bytes = await this.reader.read(this.nextOffset, bytesMax);
      const bufferEnd = endOffsetOf(bytes);
      if (bufferEnd === undefined) return;
      this.cursor = new RecordCursor(bytes);
      this.bufferEnd = bufferEnd;
      this.next();
    }
  }

  /** The record in hand was pushed. */
  done(): void {
    this.silentSince = undefined;
    this.idle = false;
    this.nextOffset++;
    this.next();
  }

  private next(): void {
    while (this.cursor.next()) {
      if (this.cursor.offset < this.nextOffset) continue; // the batch began earlier
      if (this.cursor.offset >= this.limit) {
        this.nextOffset = this.limit;
        this.hasRecord = false;
        return;
      }
      this.hasRecord = true;
      this.nextOffset = this.cursor.offset;
      return;
    }
    this.nextOffset = Math.min(this.bufferEnd, this.limit);
    this.hasRecord = false;
  }

  /** `nowMs` is monotonic. Time under backpressure doesn't count: the partition is silent only while nothing is left to read. */
  noteSilence(nowMs: number): void {
    const { idleAfterMs } = this.source.settings;
    if (this.hasRecord || this.hungry) {
      this.silentSince = undefined;
      this.idle = false;
    } else {
      this.silentSince ??= nowMs;
      this.idle = idleAfterMs !== undefined && nowMs - this.silentSince >= idleAfterMs;
    }
  }

  /** A checkpoint's position must be within the log. */
  private checkPosition(): void {
    const { reader } = this;
    const where = `${reader.topic}-${reader.partition}, offset ${this.nextOffset}`;
    if (this.nextOffset < reader.startOffset()) throw positionLost(where, reader.startOffset());
    if (this.nextOffset > reader.highWatermark()) {
      throw new MillraceError(
        "CHECKPOINT_AHEAD_OF_LOG",
        `The checkpoint has read further than the log reaches (high watermark ${reader.highWatermark()}).`,
        {
          domain: "user",
          where,
          hint: "The log was cut, replaced or restored: restore the checkpoint that belongs to it, or rename the pipeline to start anew.",
        },
      );
    }
  }
}

export function positionLost(where: string, start: number, cause?: unknown): MillraceError {
  return new MillraceError("SOURCE_POSITION_LOST", `The records to be read next are no longer kept: the log starts at ${start}.`, {
    domain: "user",
    where,
    hint: "Choose: restore the records, or rename the pipeline (or remove its checkpoint) to start from the earliest record that is kept.",
    cause,
  });
}
