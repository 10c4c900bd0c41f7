import { crc32cRange } from "../base/crc32c.ts";
import { noProducer } from "./batchBuilder.ts";
import {
  attributesAt,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_END,
  BATCH_MAGIC,
  BatchAttribute,
  BatchField,
  CRC_COVERS_FROM,
  writeInt64,
} from "./batchHeader.ts";

/** A batch of nobody's without records and time, that covers the offsets from `baseOffset` to before `endOffset`: no more than a segment's. */
export function emptyBatch(baseOffset: number, endOffset: number): Buffer {
  const bytes = Buffer.alloc(BATCH_HEADER_BYTES);
  writeInt64(bytes, BatchField.baseOffset, baseOffset);
  bytes.writeInt8(BATCH_MAGIC, BatchField.magic);
  bytes.writeInt32BE(endOffset - 1 - baseOffset, BatchField.lastOffsetDelta);
  writeInt64(bytes, BatchField.baseTimestamp, -1);
  writeInt64(bytes, BatchField.maxTimestamp, -1);
  bytes.writeBigInt64BE(noProducer.id, BatchField.producerId);
  bytes.writeInt16BE(noProducer.epoch, BatchField.producerEpoch);
  bytes.writeInt32BE(noProducer.baseSequence, BatchField.baseSequence);
  emptyBatchAt(bytes, 0);
  return bytes;
}

/** Makes a batch one without records, where it lies, that covers the same offsets. Only the first BATCH_HEADER_BYTES are it then. */
export function emptyBatchAt(bytes: Buffer, at: number): void {
  const attributes = attributesAt(bytes, at) & BatchAttribute.logAppendTime;
  bytes.writeInt16BE(attributes, at + BatchField.attributes);
  bytes.writeInt32BE(BATCH_HEADER_BYTES - BATCH_LENGTH_END, at + BatchField.length);
  bytes.writeInt32BE(0, at + BatchField.count);
  bytes.writeUInt32BE(crc32cRange(bytes, at + CRC_COVERS_FROM, at + BATCH_HEADER_BYTES), at + BatchField.crc);
}
