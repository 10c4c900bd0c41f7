import { crc32cRange } from "../base/crc32c.ts";
import { MillraceError } from "../base/errors.ts";
import {
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_END,
  BATCH_MAGIC,
  BatchField,
  batchBytesAt,
  CRC_COVERS_FROM,
  countAt,
  maxTimestampAt,
  readInt64,
} from "./batchHeader.ts";

/**
 * Is there a whole, intact batch between `at` and `limit`? Undefined: yes. Else why not: BATCH_TRUNCATED (more bytes could make it
 * whole) or BATCH_CORRUPT (nothing can). The order matters: nothing is read or summed before its length is known to be there.
 */
export function validateBatch(bytes: Buffer, at: number, limit: number): MillraceError | undefined {
  const shape = validateBatchShape(bytes, at, limit);
  if (shape !== undefined) return shape;
  const end = at + batchBytesAt(bytes, at);
  if (end > limit) return truncated(at, end - limit);
  const expected = bytes.readUInt32BE(at + BatchField.crc);
  const found = crc32cRange(bytes, at + CRC_COVERS_FROM, end);
  if (expected !== found) return corrupt(at, `its checksum is ${hex(found)} instead of ${hex(expected)}`);
  return undefined;
}

/** The header alone: enough to walk from batch to batch. The batch itself may reach beyond `limit`. */
export function validateBatchShape(bytes: Buffer, at: number, limit: number): MillraceError | undefined {
  if (limit - at < BATCH_HEADER_BYTES) return truncated(at, BATCH_HEADER_BYTES - (limit - at));
  const length = bytes.readInt32BE(at + BatchField.length);
  if (length < BATCH_HEADER_BYTES - BATCH_LENGTH_END) return corrupt(at, `its length is ${length}`);
  const magic = bytes[at + BatchField.magic];
  if (magic !== BATCH_MAGIC) return corrupt(at, `its magic is ${magic} instead of ${BATCH_MAGIC}`);
  const count = countAt(bytes, at);
  const lastOffsetDelta = bytes.readInt32BE(at + BatchField.lastOffsetDelta);
  if (count < 1 || count !== lastOffsetDelta + 1) return corrupt(at, `it counts ${count} records up to offset +${lastOffsetDelta}`);
  const baseOffset = readInt64(bytes, at);
  if (baseOffset < 0 || !Number.isSafeInteger(baseOffset + lastOffsetDelta)) return corrupt(at, `its base offset is ${baseOffset}`);
  if (!Number.isSafeInteger(maxTimestampAt(bytes, at))) return corrupt(at, "its timestamp is above 2^53");
  return undefined;
}

const hex = (crc: number): string => `0x${crc.toString(16).padStart(8, "0")}`;

const truncated = (at: number, missingBytes: number): MillraceError =>
  new MillraceError("BATCH_TRUNCATED", `A record batch is not whole: ${missingBytes} bytes are missing.`, {
    domain: "external",
    where: `byte ${at}`,
  });

const corrupt = (at: number, why: string): MillraceError =>
  new MillraceError("BATCH_CORRUPT", `A record batch is damaged: ${why}.`, { domain: "external", where: `byte ${at}` });
