/**
 * Takes records out of a batch. What stays has its offset and its timestamp; the batch keeps its first and last offset and its
 * producer's fields, and so has fewer records than offsets. A batch of which nothing stays is gone, or stays as a header that counts none.
 */
import { crc32cInPieces } from "../base/crc32c.ts";
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
  /** Does the record in hand stay? Where that takes long to know, a generator that gives way. */
  keeps(cursor: RecordCursor): boolean | Generator<undefined, boolean>;
  /** Of a batch of which no record stays, the header does. */
  readonly emptyStays: boolean;
  /** Does this record, which stays now, go at the delete horizon: a tombstone, a marker that ends nothing any more? */
  isMortal(cursor: RecordCursor): boolean;
  /** From when on the mortal records may go: written into a batch that has such ones and no horizon yet. Undefined: into none. */
  readonly deleteHorizon: number | undefined;
}

export type BatchFate = "same" | "changed" | "empty" | "gone";

/** Between two turns of a filter so many records are looked at, and no more bytes of them but for one record. */
const RECORDS_A_TURN = 64;
/** Copied or summed in one turn: 0.15 ms, and 0.5 ms into memory that was never used. */
const TURN_BYTES = 512 * 1024;

/** Filters one batch after the other; `bytes` holds the last one that was changed. Has memory for the largest one until it is let go. */
export class FilteredBatch {
  private buffer = Buffer.allocUnsafeSlow(64 * 1024);
  private other = Buffer.alloc(0);
  private length = 0;

  /** What became of the batch if it was "changed" or is "empty": a view until the next one. */
  get bytes(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  /**
   * The batch at `at`, whole and uncompressed (UNSUPPORTED_COMPRESSION), maybe a transaction's marker. Gives way every few records, and
   * within a large one, so that a large batch holds nobody up.
   */
  *filter(source: Buffer, at: number, filter: BatchFilter): Generator<undefined, BatchFate> {
    const count = countAt(source, at);
    const end = at + batchBytesAt(source, at);
    this.begin(source, at, end);
    const cursor = new RecordCursor(source, at, end, true);
    let runAt = at + BATCH_HEADER_BYTES;
    let looked = 0;
    let turnAt = runAt;
    let kept = 0;
    let latest = Number.NEGATIVE_INFINITY;
    let hasMortal = false;
    for (let recordAt = runAt; cursor.next(); recordAt = cursor.end) {
      if (++looked % RECORDS_A_TURN === 0 || recordAt - turnAt > TURN_BYTES) {
        turnAt = recordAt;
        yield;
      }
      const keeps = filter.keeps(cursor);
      if (typeof keeps === "boolean" ? keeps : yield* keeps) {
        kept++;
        hasMortal ||= filter.isMortal(cursor);
        if (cursor.timestamp > latest) latest = cursor.timestamp;
      } else {
        if (recordAt - runAt <= TURN_BYTES) this.copy(source, runAt, recordAt);
        else this.length = yield* copyInPieces(source, runAt, recordAt, this.buffer, this.length);
        runAt = cursor.end;
      }
    }
    if (kept === 0) return yield* this.endEmpty(source, at, count, filter.emptyStays);
    const hasHorizon = (attributesAt(source, at) & BatchAttribute.deleteHorizon) !== 0;
    const horizon = hasMortal && !hasHorizon ? filter.deleteHorizon : undefined;
    if (kept === count && horizon === undefined) return "same";
    this.length = yield* copyInPieces(source, runAt, end, this.buffer, this.length);
    this.end(kept, latest);
    if (horizon !== undefined) yield* this.setHorizon(horizon);
    yield* this.sign();
    return "changed";
  }

  private begin(source: Buffer, at: number, end: number): void {
    if (this.buffer.length < end - at) this.buffer = Buffer.allocUnsafeSlow(end - at);
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
  }

  private *endEmpty(source: Buffer, at: number, count: number, stays: boolean): Generator<undefined, BatchFate> {
    if (!stays) return "gone";
    if (count === 0) return "same";
    const { buffer } = this;
    const keptBits = BatchAttribute.logAppendTime | BatchAttribute.transactional | BatchAttribute.control;
    buffer.writeInt32BE(BATCH_HEADER_BYTES - BATCH_LENGTH_END, BatchField.length);
    buffer.writeInt16BE(attributesAt(source, at) & keptBits, BatchField.attributes);
    writeInt64(buffer, BatchField.baseTimestamp, maxTimestampAt(source, at));
    buffer.writeInt32BE(0, BatchField.count);
    yield* this.sign();
    return "empty";
  }

  private *sign(): Generator<undefined, void> {
    this.buffer.writeUInt32BE(yield* crc32cInPieces(this.buffer, CRC_COVERS_FROM, this.length), BatchField.crc);
  }

  /** The horizon takes the place of the base timestamp, so every record's difference from it is another one. */
  private *setHorizon(horizon: number): Generator<undefined, void> {
    const bytesMax = this.length + countAt(this.buffer, 0) * (VARINT_BYTES_MAX + VARLONG_BYTES_MAX);
    const into = this.other.length < bytesMax ? Buffer.allocUnsafeSlow(bytesMax) : this.other;
    const from = this.buffer;
    from.copy(into, 0, 0, BATCH_HEADER_BYTES);
    const cursor = new RecordCursor(from, 0, this.length, true);
    let to = BATCH_HEADER_BYTES;
    let looked = 0;
    let turnAt = 0;
    for (let recordAt = BATCH_HEADER_BYTES; cursor.next(); recordAt = cursor.end) {
      if (++looked % RECORDS_A_TURN === 0 || recordAt - turnAt > TURN_BYTES) {
        turnAt = recordAt;
        yield;
      }
      const delta = cursor.timestamp - horizon;
      if (!Number.isSafeInteger(delta)) return; // a time that no varint of ours can say: these records stay for ever
      const attributesAtByte = afterVarint(from, recordAt);
      const restAt = afterVarint(from, attributesAtByte + 1);
      to = writeVarint(into, to, 1 + sizeOfVarlong(delta) + cursor.end - restAt);
      into[to++] = from[attributesAtByte] as number;
      to = writeVarlong(into, to, delta);
      if (cursor.end - restAt > TURN_BYTES) {
        to = yield* copyInPieces(from, restAt, cursor.end, into, to);
      } else {
        from.copy(into, to, restAt, cursor.end);
        to += cursor.end - restAt;
      }
    }
    this.other = from;
    this.buffer = into;
    this.length = to;
    into.writeInt16BE(attributesAt(into, 0) | BatchAttribute.deleteHorizon, BatchField.attributes);
    writeInt64(into, BatchField.baseTimestamp, horizon);
    into.writeInt32BE(to - BATCH_LENGTH_END, BatchField.length);
  }
}

/** Returns where the copy ends. */
function* copyInPieces(source: Buffer, from: number, end: number, into: Buffer, at: number): Generator<undefined, number> {
  let to = at;
  let next = from;
  for (; end - next > TURN_BYTES; next += TURN_BYTES, to += TURN_BYTES) {
    source.copy(into, to, next, next + TURN_BYTES);
    yield;
  }
  source.copy(into, to, next, end);
  return to + end - next;
}

/** Past a varint that was read once already. */
function afterVarint(bytes: Buffer, at: number): number {
  while ((bytes[at++] as number) >= 0x80);
  return at;
}
