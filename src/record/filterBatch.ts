/**
 * Takes records out of a batch. What stays has its offset and its timestamp; the batch keeps its first and last offset and its
 * producer's fields, and so has fewer records than offsets. A batch of which nothing stays is gone, or stays as a header that counts none.
 */
import { crc32cRange } from "../base/crc32c.ts";
import {
  attributesAt,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_END,
  BatchAttribute,
  BatchField,
  batchBytesAt,
  CRC_COVERS_FROM,
  countAt,
  maxTimestampAt,
  writeInt64,
} from "./batchHeader.ts";
import { RecordCursor } from "./recordCursor.ts";
import { sizeOfVarlong, VARINT_BYTES_MAX, VARLONG_BYTES_MAX, writeVarint, writeVarlong } from "./varint.ts";

export interface BatchFilter {
  /** Does the record in hand stay? */
  keeps(cursor: RecordCursor): boolean;
  /** Of a batch of which no record stays, the header does. */
  readonly emptyStays: boolean;
  /** Does this record, which stays now, go at the delete horizon: a tombstone, a marker that ends nothing any more? */
  isMortal(cursor: RecordCursor): boolean;
  /** From when on the mortal records may go: written into a batch that has such ones and no horizon yet. Undefined: into none. */
  readonly deleteHorizon: number | undefined;
}

export type BatchFate = "same" | "changed" | "empty" | "gone";

/** So many records are looked at between two turns of a filter. */
const RECORDS_A_TURN = 64;
/** What stays allocated after a large batch. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024;

/** Filters one batch after the other; `bytes` holds the last one that was changed. */
export class FilteredBatch {
  private buffer = Buffer.allocUnsafeSlow(64 * 1024);
  private other = Buffer.alloc(0);
  private length = 0;

  /** What became of the batch if it was "changed" or is "empty": a view until the next one. */
  get bytes(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  /**
   * The batch at `at`, whole and uncompressed (UNSUPPORTED_COMPRESSION), maybe a transaction's marker. Gives way every few records, so that
   * a large batch holds nobody up.
   */
  *filter(source: Buffer, at: number, filter: BatchFilter): Generator<undefined, BatchFate> {
    const count = countAt(source, at);
    const end = at + batchBytesAt(source, at);
    this.begin(source, at, end);
    const cursor = new RecordCursor(source, at, end, true);
    let runAt = at + BATCH_HEADER_BYTES;
    let looked = 0;
    let kept = 0;
    let latest = Number.NEGATIVE_INFINITY;
    let hasMortal = false;
    for (let recordAt = runAt; cursor.next(); recordAt = cursor.end) {
      if (++looked % RECORDS_A_TURN === 0) yield;
      if (filter.keeps(cursor)) {
        kept++;
        hasMortal ||= filter.isMortal(cursor);
        if (cursor.timestamp > latest) latest = cursor.timestamp;
      } else {
        this.copy(source, runAt, recordAt);
        runAt = cursor.end;
      }
    }
    if (kept === 0) return this.endEmpty(source, at, count, filter.emptyStays);
    const hasHorizon = (attributesAt(source, at) & BatchAttribute.deleteHorizon) !== 0;
    const horizon = hasMortal && !hasHorizon ? filter.deleteHorizon : undefined;
    if (kept === count && horizon === undefined) return "same";
    this.copy(source, runAt, end);
    this.end(kept, latest);
    if (horizon !== undefined) yield* this.setHorizon(horizon);
    return "changed";
  }

  private begin(source: Buffer, at: number, end: number): void {
    if (this.buffer.length < end - at || this.buffer.length > KEPT_BYTES_MAX) {
      this.buffer = Buffer.allocUnsafeSlow(Math.max(end - at, 64 * 1024));
    }
    this.length = 0;
    this.copy(source, at, at + BATCH_HEADER_BYTES);
  }

  private copy(source: Buffer, from: number, to: number): void {
    source.copy(this.buffer, this.length, from, to);
    this.length += to - from;
  }

  private end(count: number, latest: number): void {
    const { buffer } = this;
    buffer.writeInt32BE(this.length - BATCH_LENGTH_END, BatchField.length);
    buffer.writeInt32BE(count, BatchField.count);
    if ((attributesAt(buffer, 0) & BatchAttribute.logAppendTime) === 0) writeInt64(buffer, BatchField.maxTimestamp, latest);
    this.sign();
  }

  private endEmpty(source: Buffer, at: number, count: number, stays: boolean): BatchFate {
    if (!stays) return "gone";
    if (count === 0) return "same";
    const { buffer } = this;
    const keptBits = BatchAttribute.logAppendTime | BatchAttribute.transactional | BatchAttribute.control;
    buffer.writeInt32BE(BATCH_HEADER_BYTES - BATCH_LENGTH_END, BatchField.length);
    buffer.writeInt16BE(attributesAt(source, at) & keptBits, BatchField.attributes);
    writeInt64(buffer, BatchField.baseTimestamp, maxTimestampAt(source, at));
    buffer.writeInt32BE(0, BatchField.count);
    this.sign();
    return "empty";
  }

  private sign(): void {
    this.buffer.writeUInt32BE(crc32cRange(this.buffer, CRC_COVERS_FROM, this.length), BatchField.crc);
  }

  /** The horizon takes the place of the base timestamp, so every record's difference from it is another one. */
  private *setHorizon(horizon: number): Generator<undefined, void> {
    const bytesMax = this.length + countAt(this.buffer, 0) * (VARINT_BYTES_MAX + VARLONG_BYTES_MAX);
    const into = this.other.length < bytesMax || this.other.length > KEPT_BYTES_MAX ? Buffer.allocUnsafeSlow(bytesMax) : this.other;
    const from = this.buffer;
    from.copy(into, 0, 0, BATCH_HEADER_BYTES);
    const cursor = new RecordCursor(from, 0, this.length, true);
    let to = BATCH_HEADER_BYTES;
    let looked = 0;
    for (let recordAt = BATCH_HEADER_BYTES; cursor.next(); recordAt = cursor.end) {
      if (++looked % RECORDS_A_TURN === 0) yield;
      const delta = cursor.timestamp - horizon;
      if (!Number.isSafeInteger(delta)) return; // a time that no varint of ours can say: these records stay for ever
      const attributesAtByte = afterVarint(from, recordAt);
      const restAt = afterVarint(from, attributesAtByte + 1);
      to = writeVarint(into, to, 1 + sizeOfVarlong(delta) + cursor.end - restAt);
      into[to++] = from[attributesAtByte] as number;
      to = writeVarlong(into, to, delta);
      from.copy(into, to, restAt, cursor.end);
      to += cursor.end - restAt;
    }
    this.other = from;
    this.buffer = into;
    this.length = to;
    into.writeInt16BE(attributesAt(into, 0) | BatchAttribute.deleteHorizon, BatchField.attributes);
    writeInt64(into, BatchField.baseTimestamp, horizon);
    into.writeInt32BE(to - BATCH_LENGTH_END, BatchField.length);
    this.sign();
  }
}

/** Past a varint that was read once already. */
function afterVarint(bytes: Buffer, at: number): number {
  while ((bytes[at++] as number) >= 0x80);
  return at;
}
