import { crc32cRange } from "../base/crc32c.ts";
import { assert } from "../base/errors.ts";
import { BATCH_HEADER_BYTES, BATCH_LENGTH_END, BATCH_MAGIC, BatchField, CRC_COVERS_FROM, writeInt64 } from "./batchHeader.ts";
import { headerKeyBytes } from "./headerKeys.ts";
import type { NewRecord } from "./record.ts";
import { sizeOfVarint, sizeOfVarlong, writeVarint, writeVarlong } from "./varint.ts";

export interface BatchProducer {
  /** -1n: none. */
  readonly id: bigint;
  readonly epoch: number;
  readonly baseSequence: number;
}

export const noProducer: BatchProducer = { id: -1n, epoch: -1, baseSequence: -1 };

/** What `reset` keeps allocated, so that a burst does not hold its memory for ever. */
const KEEP_BYTES_MAX = 4 * 1024 * 1024;

/** So that the difference of two of them is a safe integer. */
const TIMESTAMP_MAX = 2 ** 52;

/**
 * Encodes records straight into one growing buffer, as batches back to back: one batch is open, `endBatch` fills in its header.
 * Reusable: after `reset` the same memory is filled again, so `bytes()` is a view until then.
 */
export class BatchBuilder {
  private buffer: Buffer;
  private at = 0;
  private batchAt = 0;
  private baseOffset = 0;
  private baseTimestamp = 0;
  private maxTimestamp = 0;
  private recordCount = 0;

  constructor(private readonly initialBytes: number = 4096) {
    this.buffer = Buffer.allocUnsafeSlow(initialBytes);
  }

  /** Records in the open batch. */
  get count(): number {
    return this.recordCount;
  }

  /** Bytes of the open batch, with its header; 0 without one. */
  get batchBytes(): number {
    return this.recordCount === 0 ? 0 : this.at - this.batchAt;
  }

  /** Bytes of all batches, the open one included. */
  get totalBytes(): number {
    return this.at;
  }

  /** At most so many bytes does this record take in a batch, the header of a new batch not counted. */
  static boundOf(record: NewRecord): number {
    let bytes = 32 + (record.key?.length ?? 0) + (record.value?.length ?? 0);
    for (const header of record.headers) bytes += 10 + headerKeyBytes(header.key).length + (header.value?.length ?? 0);
    return bytes;
  }

  /** Adds to the open batch, opens one if there is none (`offset` is then its base offset). Returns the bytes it took. */
  append(record: NewRecord, offset: number): number {
    const { key, value, headers, timestamp } = record;
    assert(Math.abs(timestamp) <= TIMESTAMP_MAX && Number.isInteger(timestamp), "a record's timestamp is a whole number within 2^52");
    const before = this.at;
    const opens = this.recordCount === 0;
    if (opens) this.openBatch(offset, timestamp);
    else if (timestamp > this.maxTimestamp) this.maxTimestamp = timestamp;
    const timestampDelta = timestamp - this.baseTimestamp;
    const offsetDelta = this.recordCount;
    const bodyBytes = sizeOfBody(record, timestampDelta, offsetDelta);
    this.reserve(bodyBytes + 5);
    const { buffer } = this;
    let at = writeVarint(buffer, this.at, bodyBytes);
    buffer[at++] = 0; // attributes
    at = writeVarlong(buffer, at, timestampDelta);
    at = writeVarint(buffer, at, offsetDelta);
    at = writeBytes(buffer, at, key);
    at = writeBytes(buffer, at, value);
    at = writeVarint(buffer, at, headers.length);
    for (let i = 0; i < headers.length; i++) {
      const header = headers[i] as NewRecord["headers"][number];
      at = writeBytes(buffer, at, headerKeyBytes(header.key));
      at = writeBytes(buffer, at, header.value);
    }
    this.at = at;
    this.recordCount++;
    return at - before;
  }

  /** Closes the open batch. Returns where it begins in `bytes()`. */
  endBatch(producer: BatchProducer = noProducer, attributes = 0): number {
    const { buffer, batchAt: at } = this;
    assert(this.recordCount > 0, "a batch is open");
    writeInt64(buffer, at, this.baseOffset);
    buffer.writeInt32BE(this.at - at - BATCH_LENGTH_END, at + BatchField.length);
    buffer.writeInt32BE(0, at + BatchField.partitionLeaderEpoch);
    buffer[at + BatchField.magic] = BATCH_MAGIC;
    buffer.writeInt16BE(attributes, at + BatchField.attributes);
    buffer.writeInt32BE(this.recordCount - 1, at + BatchField.lastOffsetDelta);
    writeInt64(buffer, at + BatchField.baseTimestamp, this.baseTimestamp);
    writeInt64(buffer, at + BatchField.maxTimestamp, this.maxTimestamp);
    buffer.writeBigInt64BE(producer.id, at + BatchField.producerId);
    buffer.writeInt16BE(producer.epoch, at + BatchField.producerEpoch);
    buffer.writeInt32BE(producer.baseSequence, at + BatchField.baseSequence);
    buffer.writeInt32BE(this.recordCount, at + BatchField.count);
    buffer.writeUInt32BE(crc32cRange(buffer, at + CRC_COVERS_FROM, this.at), at + BatchField.crc);
    this.recordCount = 0;
    return at;
  }

  /** A batch that was encoded elsewhere, as it is; none may be open. */
  appendEncoded(batch: Buffer): void {
    assert(this.recordCount === 0, "the last batch is closed");
    this.reserve(batch.length);
    this.buffer.set(batch, this.at);
    this.at += batch.length;
  }

  /** The closed batches: a view, valid until `reset`. */
  bytes(): Buffer {
    assert(this.recordCount === 0, "the last batch is closed");
    return this.buffer.subarray(0, this.at);
  }

  reset(): void {
    this.at = 0;
    this.recordCount = 0;
    if (this.buffer.length > KEEP_BYTES_MAX) this.buffer = Buffer.allocUnsafeSlow(this.initialBytes);
  }

  private openBatch(offset: number, timestamp: number): void {
    this.reserve(BATCH_HEADER_BYTES);
    this.batchAt = this.at;
    this.at += BATCH_HEADER_BYTES;
    this.baseOffset = offset;
    this.baseTimestamp = timestamp;
    this.maxTimestamp = timestamp;
  }

  private reserve(bytes: number): void {
    const needed = this.at + bytes;
    if (needed <= this.buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    grown.set(this.buffer.subarray(0, this.at));
    this.buffer = grown;
  }
}

function sizeOfBody({ key, value, headers }: NewRecord, timestampDelta: number, offsetDelta: number): number {
  let bytes = 1 + sizeOfVarlong(timestampDelta) + sizeOfVarint(offsetDelta) + sizeOfBytes(key) + sizeOfBytes(value);
  bytes += sizeOfVarint(headers.length);
  for (let i = 0; i < headers.length; i++) {
    const header = headers[i] as NewRecord["headers"][number];
    bytes += sizeOfBytes(headerKeyBytes(header.key)) + sizeOfBytes(header.value);
  }
  return bytes;
}

const sizeOfBytes = (bytes: Uint8Array | null): number => (bytes === null ? 1 : sizeOfVarint(bytes.length) + bytes.length);

function writeBytes(into: Buffer, at: number, bytes: Uint8Array | null): number {
  if (bytes === null) {
    into[at] = 1; // zigzag of -1
    return at + 1;
  }
  const { length } = bytes;
  at = writeVarint(into, at, length);
  if (length < 24) {
    // a short copy by hand is cheaper than the call into C++
    for (let i = 0; i < length; i++) into[at + i] = bytes[i] as number;
  } else {
    into.set(bytes, at);
  }
  return at + length;
}
