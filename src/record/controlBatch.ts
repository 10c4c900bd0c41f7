/**
 * Transaction markers, as Kafka has them: a batch with the control and the transactional attribute, the producer's id and epoch, no
 * sequence, and one record:
 *
 *   key:    version i16 = 0   type i16: 0 abort, 1 commit
 *   value:  version i16 = 0   coordinatorEpoch i32
 */
import { BatchBuilder } from "./batchBuilder.ts";
import { attributesAt, BATCH_HEADER_BYTES, BatchAttribute, batchBytesAt, countAt } from "./batchHeader.ts";
import { VarintReader } from "./varint.ts";

type TransactionOutcome = "commit" | "abort";

export interface TransactionMarker {
  readonly outcome: TransactionOutcome;
  readonly coordinatorEpoch: number;
}

const KEY_BYTES = 4;
const VALUE_BYTES = 6;
const ABORT = 0;
const COMMIT = 1;

export const isControlAt = (bytes: Buffer, at: number): boolean => (attributesAt(bytes, at) & BatchAttribute.control) !== 0;
export const isTransactionalAt = (bytes: Buffer, at: number): boolean => (attributesAt(bytes, at) & BatchAttribute.transactional) !== 0;

export function encodeMarker(marker: TransactionMarker, producerId: bigint, epoch: number, timestamp: number): Buffer {
  const key = Buffer.alloc(KEY_BYTES);
  key.writeInt16BE(marker.outcome === "commit" ? COMMIT : ABORT, 2);
  const value = Buffer.alloc(VALUE_BYTES);
  value.writeInt32BE(marker.coordinatorEpoch, 2);
  const builder = new BatchBuilder(128);
  builder.append({ key, value, headers: [], timestamp }, 0);
  builder.endBatch({ id: producerId, epoch, baseSequence: -1 }, BatchAttribute.control | BatchAttribute.transactional);
  return Buffer.from(builder.bytes());
}

/**
 * The marker in a control batch that lies whole in `bytes`; undefined if it is none that this release knows. Never reads past the batch.
 */
export function markerAt(bytes: Buffer, at: number): TransactionMarker | undefined {
  if (countAt(bytes, at) !== 1) return undefined;
  const reader = new VarintReader(bytes);
  reader.at = at + BATCH_HEADER_BYTES;
  reader.end = Math.min(at + batchBytesAt(bytes, at), bytes.length);
  try {
    reader.varint(); // the record's length
    reader.at++; // its attributes
    reader.varlong();
    reader.varint();
    const type = fieldOf(reader, bytes, KEY_BYTES)?.readInt16BE(2);
    const coordinatorEpoch = fieldOf(reader, bytes, VALUE_BYTES)?.readInt32BE(2);
    if (coordinatorEpoch === undefined || (type !== ABORT && type !== COMMIT)) return undefined;
    return { outcome: type === COMMIT ? "commit" : "abort", coordinatorEpoch };
  } catch {
    return undefined; // its varints are none
  }
}

/** Of a later version it may be longer. */
function fieldOf(reader: VarintReader, bytes: Buffer, bytesMin: number): Buffer | undefined {
  const length = reader.varint();
  if (length < bytesMin || length > reader.end - reader.at) return undefined;
  const field = bytes.subarray(reader.at, reader.at + length);
  reader.at += length;
  return field;
}
