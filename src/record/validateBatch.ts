import { crc32cRange } from "../base/crc32c.ts";
import { MillraceError } from "../base/errors.ts";
import {
  attributesAt,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_END,
  BATCH_MAGIC,
  BatchAttribute,
  BatchField,
  baseSequenceAt,
  batchBytesAt,
  CRC_COVERS_FROM,
  countAt,
  lastOffsetDeltaAt,
  maxTimestampAt,
  producerEpochAt,
  producerIdAt,
  readInt64,
} from "./batchHeader.ts";

/** zstd */
const CODEC_MAX = 4;

/**
 * Is there a whole, intact batch between `at` and `limit`? Undefined: yes. Else why not: BATCH_TRUNCATED (more bytes could make it
 * whole) or BATCH_CORRUPT (nothing can). The order matters: nothing is read or summed before its length is known to be there.
 */
export function validateBatch(bytes: Buffer, at: number, limit: number): MillraceError | undefined {
  const shape = validateBatchShape(bytes, at, limit);
  if (shape !== undefined) return shape;
  const end = at + batchBytesAt(bytes, at);
  if (end > limit) return truncated(at, end - limit);
  return checksumProblem(bytes, at, crc32cRange(bytes, at + CRC_COVERS_FROM, end));
}

/** Is `found` another checksum than the batch has in its header? */
export function checksumProblem(bytes: Buffer, at: number, found: number): MillraceError | undefined {
  const expected = bytes.readUInt32BE(at + BatchField.crc);
  return expected === found ? undefined : corrupt(at, `its checksum is ${hex(found)} instead of ${hex(expected)}`);
}

/**
 * A batch as a producer sent it, all of `bytes`: what a log has to know of it before it keeps it, for ever and unread. Throws
 * BATCH_CORRUPT or BATCH_TRUNCATED.
 */
export function checkNewBatch(bytes: Buffer): void {
  const problem = validateBatch(bytes, 0, bytes.length);
  if (problem !== undefined) throw problem;
  checkNewHeader(bytes);
}

/** The same but for the checksum. */
export function checkNewBatchUnsummed(bytes: Buffer): void {
  const problem = validateBatchShape(bytes, 0, bytes.length);
  if (problem !== undefined) throw problem;
  const missing = batchBytesAt(bytes, 0) - bytes.length;
  if (missing > 0) throw truncated(0, missing);
  checkNewHeader(bytes);
}

function checkNewHeader(bytes: Buffer): void {
  if (batchBytesAt(bytes, 0) !== bytes.length) throw corrupt(0, `${bytes.length - batchBytesAt(bytes, 0)} bytes follow it`);
  const count = countAt(bytes, 0);
  if (count !== lastOffsetDeltaAt(bytes, 0) + 1)
    throw corrupt(0, `it counts ${count} records up to offset +${lastOffsetDeltaAt(bytes, 0)}`);
  const attributes = attributesAt(bytes, 0);
  if ((attributes & BatchAttribute.deleteHorizon) !== 0) throw corrupt(0, "only the log itself sets a delete horizon");
  if ((attributes & BatchAttribute.codecMask) > CODEC_MAX) throw corrupt(0, `its codec is ${attributes & BatchAttribute.codecMask}`);
  if ((attributes & BatchAttribute.control) !== 0) throw corrupt(0, "only the log itself writes control batches");
  const hasProducer = producerIdAt(bytes, 0) >= 0n;
  const hasSequence = baseSequenceAt(bytes, 0) >= 0 && producerEpochAt(bytes, 0) >= 0;
  if (hasProducer && !hasSequence) throw corrupt(0, "it has a producer, and no epoch or sequence");
  if (!hasProducer && (attributes & BatchAttribute.transactional) !== 0) throw corrupt(0, "it is transactional, and has no producer");
}

/** The header alone: enough to walk from batch to batch. The batch itself may reach beyond `limit`. */
export function validateBatchShape(bytes: Buffer, at: number, limit: number): MillraceError | undefined {
  if (limit - at < BATCH_HEADER_BYTES) return truncated(at, BATCH_HEADER_BYTES - (limit - at));
  const length = bytes.readInt32BE(at + BatchField.length);
  if (length < BATCH_HEADER_BYTES - BATCH_LENGTH_END) return corrupt(at, `its length is ${length}`);
  const magic = bytes[at + BatchField.magic];
  if (magic !== BATCH_MAGIC) return corrupt(at, `its magic is ${magic} instead of ${BATCH_MAGIC}`);
  const count = countAt(bytes, at);
  const lastOffsetDelta = lastOffsetDeltaAt(bytes, at);
  // compaction takes records out and leaves the offsets as they were
  if (count < 0 || lastOffsetDelta < 0 || count > lastOffsetDelta + 1)
    return corrupt(at, `it counts ${count} records up to offset +${lastOffsetDelta}`);
  if (count === 0 && length !== BATCH_HEADER_BYTES - BATCH_LENGTH_END)
    return corrupt(at, "it counts no records, and bytes follow its header");
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
