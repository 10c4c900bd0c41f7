import { crc32cRange } from "../base/crc32c.ts";
import { attributesAt, BATCH_HEADER_BYTES, BATCH_LENGTH_END, BatchAttribute, BatchField, CRC_COVERS_FROM } from "./batchHeader.ts";

/** Makes a batch one without records, where it lies, that covers the same offsets. Only the first BATCH_HEADER_BYTES are it then. */
export function emptyBatchAt(bytes: Buffer, at: number): void {
  const attributes = attributesAt(bytes, at) & BatchAttribute.logAppendTime;
  bytes.writeInt16BE(attributes, at + BatchField.attributes);
  bytes.writeInt32BE(BATCH_HEADER_BYTES - BATCH_LENGTH_END, at + BatchField.length);
  bytes.writeInt32BE(0, at + BatchField.count);
  bytes.writeUInt32BE(crc32cRange(bytes, at + CRC_COVERS_FROM, at + BATCH_HEADER_BYTES), at + BatchField.crc);
}
