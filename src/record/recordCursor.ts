import { MillraceError } from "../base/errors.ts";
import {
  attributesAt,
  BATCH_HEADER_BYTES,
  BatchAttribute,
  BatchField,
  baseOffsetAt,
  baseTimestampAt,
  batchBytesAt,
  countAt,
  lastOffsetDeltaAt,
} from "./batchHeader.ts";
import type { RecordHeader, StoredRecord } from "./record.ts";
import { validateBatchShape } from "./validateBatch.ts";
import { corrupt, VarintReader } from "./varint.ts";

const codecNames = ["none", "gzip", "snappy", "lz4", "zstd"];

/**
 * Walks over the records of batches that lie back to back, without an object a record: `next()` moves, the fields say where the
 * record's parts are. For bytes whose CRC was checked or not: hostile ones throw RECORD_CORRUPT, BATCH_CORRUPT, BATCH_TRUNCATED or
 * UNSUPPORTED_COMPRESSION, and nothing is read past the end. Control batches (transaction markers) are passed over, if not asked for.
 *
 *     const cursor = new RecordCursor(bytes);
 *     while (cursor.next()) if (cursor.offset >= from) use(cursor.bytes, cursor.valueAt, cursor.valueBytes);
 */
export class RecordCursor {
  offset = -1;
  timestamp = 0;
  keyAt = 0;
  /** -1: no key. */
  keyBytes = -1;
  valueAt = 0;
  /** -1: no value. */
  valueBytes = -1;

  private readonly reader: VarintReader;
  private batchEnd: number;
  private recordsLeft = 0;
  private baseOffset = 0;
  private baseTimestamp = 0;
  private lastOffsetDelta = 0;
  private previousDelta = -1;
  private appendTime = false;
  private headersAt = 0;
  private recordEnd = 0;

  constructor(
    readonly bytes: Buffer,
    at = 0,
    private readonly limit: number = bytes.length,
    private readonly withMarkers = false,
  ) {
    this.reader = new VarintReader(bytes);
    this.batchEnd = at;
  }

  /** Where the bytes of the record end. */
  get end(): number {
    return this.recordEnd;
  }

  /** To the next record; false at the end of the last batch. */
  next(): boolean {
    while (this.recordsLeft === 0) {
      if (this.batchEnd >= this.limit) return false;
      this.enterBatch(this.batchEnd);
    }
    this.recordsLeft--;
    this.readRecord();
    if (this.recordsLeft === 0 && this.recordEnd !== this.batchEnd) throw corrupt("bytes are left after its last record", this.recordEnd);
    return true;
  }

  /** A view of the bytes. */
  key(): Buffer | null {
    return this.keyBytes < 0 ? null : this.bytes.subarray(this.keyAt, this.keyAt + this.keyBytes);
  }

  /** A view of the bytes. */
  value(): Buffer | null {
    return this.valueBytes < 0 ? null : this.bytes.subarray(this.valueAt, this.valueAt + this.valueBytes);
  }

  headers(): RecordHeader[] {
    const { reader } = this;
    const after = reader.at;
    reader.at = this.headersAt;
    reader.end = this.recordEnd;
    const count = reader.varint();
    // a header takes two bytes at least, so that a count out of bounds can't ask for memory
    if (count < 0 || count * 2 > this.recordEnd - reader.at) throw corrupt(`it counts ${count} headers`, reader.at);
    const headers: RecordHeader[] = [];
    for (let i = 0; i < count; i++) {
      const keyBytes = this.lengthWithin(0);
      const keyAt = reader.at;
      reader.at += keyBytes;
      const valueBytes = this.lengthWithin(-1);
      const valueAt = reader.at;
      if (valueBytes > 0) reader.at += valueBytes;
      headers.push({
        key: this.bytes.toString("utf8", keyAt, keyAt + keyBytes),
        value: valueBytes < 0 ? null : this.bytes.subarray(valueAt, valueAt + valueBytes),
      });
    }
    if (reader.at !== this.recordEnd) throw corrupt("bytes are left after its headers", reader.at);
    reader.at = after;
    reader.end = this.batchEnd;
    return headers;
  }

  record(): StoredRecord {
    return { offset: this.offset, timestamp: this.timestamp, key: this.key(), value: this.value(), headers: this.headers() };
  }

  private enterBatch(at: number): void {
    const { bytes } = this;
    const problem = validateBatchShape(bytes, at, this.limit);
    if (problem !== undefined) throw problem;
    const end = at + batchBytesAt(bytes, at);
    if (end > this.limit) throw corrupt(`it ends ${end - this.limit} bytes after the buffer`, at);
    const attributes = attributesAt(bytes, at);
    this.batchEnd = end;
    if ((attributes & BatchAttribute.control) !== 0 && !this.withMarkers) return;
    const codec = attributes & BatchAttribute.codecMask;
    if (codec !== 0) throw unsupportedCompression(codec, at);
    this.recordsLeft = countAt(bytes, at);
    this.baseOffset = baseOffsetAt(bytes, at);
    this.appendTime = (attributes & BatchAttribute.logAppendTime) !== 0;
    // with LogAppendTime every record has the batch's max timestamp, whatever its delta says
    this.baseTimestamp = baseTimestampAt(bytes, this.appendTime ? at + BatchField.maxTimestamp - BatchField.baseTimestamp : at);
    this.lastOffsetDelta = lastOffsetDeltaAt(bytes, at);
    this.previousDelta = -1;
    this.reader.at = at + BATCH_HEADER_BYTES;
    this.reader.end = end;
  }

  private readRecord(): void {
    const { reader } = this;
    const length = reader.varint();
    this.recordEnd = reader.at + length;
    if (length < 1 || this.recordEnd > this.batchEnd) throw corrupt(`a record's length is ${length}`, reader.at);
    reader.end = this.recordEnd;
    reader.at++; // attributes, unused in the format
    const timestampDelta = reader.varlong();
    const offsetDelta = reader.varint();
    if (offsetDelta <= this.previousDelta || offsetDelta > this.lastOffsetDelta) {
      throw corrupt(`offset +${offsetDelta} comes after +${this.previousDelta}`, reader.at);
    }
    this.previousDelta = offsetDelta;
    this.keyBytes = this.lengthWithin(-1);
    this.keyAt = reader.at;
    if (this.keyBytes > 0) reader.at += this.keyBytes;
    this.valueBytes = this.lengthWithin(-1);
    this.valueAt = reader.at;
    if (this.valueBytes > 0) reader.at += this.valueBytes;
    this.offset = this.baseOffset + offsetDelta;
    this.timestamp = this.appendTime ? this.baseTimestamp : this.baseTimestamp + timestampDelta;
    this.headersAt = reader.at;
    reader.at = this.recordEnd;
    reader.end = this.batchEnd;
  }

  /** A length that fits into the rest of the record. */
  private lengthWithin(min: number): number {
    const length = this.reader.varint();
    if (length < min || length > this.recordEnd - this.reader.at) throw corrupt(`a length of ${length} leaves the record`, this.reader.at);
    return length;
  }
}

function unsupportedCompression(codec: number, at: number): MillraceError {
  return new MillraceError("UNSUPPORTED_COMPRESSION", `A record batch is compressed with ${codecNames[codec] ?? `codec ${codec}`}.`, {
    domain: "user",
    where: `byte ${at}`,
    hint: "Set compression.type=none in the producer.",
  });
}
