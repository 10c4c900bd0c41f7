/**
 * Record batch v2: Kafka's format of a batch on the wire and on disk. Big-endian, 61 bytes of header:
 *
 *   0 baseOffset i64      8 length i32 (of what follows it)   12 partitionLeaderEpoch i32   16 magic i8 = 2
 *  17 crc u32 (CRC-32C of byte 21 to the end)   21 attributes i16   23 lastOffsetDelta i32
 *  27 baseTimestamp i64  35 maxTimestamp i64    43 producerId i64   51 producerEpoch i16   53 baseSequence i32
 *  57 count i32          61 records
 *
 * Attributes: bits 0-2 codec (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd), 3 LogAppendTime, 4 transactional, 5 control,
 * 6 delete horizon: baseTimestamp is the time from which the batch's records without value may go (only compaction sets it).
 * A batch from which compaction took records has fewer than its last offset says, or none at all.
 * The CRC leaves out baseOffset and partitionLeaderEpoch, so that a log gives a batch its offset without reading it.
 */
export const BATCH_HEADER_BYTES = 61;
/** What comes before `length` starts to count. */
export const BATCH_LENGTH_END = 12;
export const BATCH_MAGIC = 2;
export const CRC_COVERS_FROM = 21;

export const BatchField = {
  baseOffset: 0,
  length: 8,
  partitionLeaderEpoch: 12,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  count: 57,
} as const;

export const BatchAttribute = {
  codecMask: 0b111,
  logAppendTime: 1 << 3,
  transactional: 1 << 4,
  control: 1 << 5,
  deleteHorizon: 1 << 6,
} as const;

const TWO_32 = 4294967296;

/** An i64 as a number; exact for safe integers, which `validateBatch` makes sure of for offsets and timestamps. */
export const readInt64 = (bytes: Buffer, at: number): number => bytes.readInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4);

export function writeInt64(bytes: Buffer, at: number, value: number): void {
  const high = Math.floor(value / TWO_32);
  bytes.writeInt32BE(high, at);
  bytes.writeUInt32BE(value - high * TWO_32, at + 4);
}

/** Reads the header's fields where a batch lies in a buffer; nothing is copied, nothing checked (see validateBatch). */
export const batchBytesAt = (bytes: Buffer, at: number): number => BATCH_LENGTH_END + bytes.readInt32BE(at + BatchField.length);
export const baseOffsetAt = (bytes: Buffer, at: number): number => readInt64(bytes, at);
export const lastOffsetAt = (bytes: Buffer, at: number): number =>
  readInt64(bytes, at) + bytes.readInt32BE(at + BatchField.lastOffsetDelta);
export const attributesAt = (bytes: Buffer, at: number): number => bytes.readInt16BE(at + BatchField.attributes);
export const lastOffsetDeltaAt = (bytes: Buffer, at: number): number => bytes.readInt32BE(at + BatchField.lastOffsetDelta);
export const countAt = (bytes: Buffer, at: number): number => bytes.readInt32BE(at + BatchField.count);
export const baseTimestampAt = (bytes: Buffer, at: number): number => readInt64(bytes, at + BatchField.baseTimestamp);
export const maxTimestampAt = (bytes: Buffer, at: number): number => readInt64(bytes, at + BatchField.maxTimestamp);
/** -1: no producer. 64 bits, so a bigint. */
export const producerIdAt = (bytes: Buffer, at: number): bigint => bytes.readBigInt64BE(at + BatchField.producerId);
export const producerEpochAt = (bytes: Buffer, at: number): number => bytes.readInt16BE(at + BatchField.producerEpoch);
export const baseSequenceAt = (bytes: Buffer, at: number): number => bytes.readInt32BE(at + BatchField.baseSequence);
