/** Record batch v2 as whole: the layout is in batchHeader.ts, the hot paths are BatchBuilder and RecordCursor. */
import { BatchBuilder, noProducer } from "./batchBuilder.ts";
import { batchBytesAt, lastOffsetAt } from "./batchHeader.ts";
import type { NewRecord, StoredRecord } from "./record.ts";
import { RecordCursor } from "./recordCursor.ts";
import { validateBatchShape } from "./validateBatch.ts";

export interface BatchOptions {
  readonly baseOffset?: number;
  readonly producerId?: bigint;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
}

/** One batch, uncompressed. At least one record. */
export function encodeBatch(records: readonly NewRecord[], options: BatchOptions = {}): Buffer {
  const builder = new BatchBuilder(records.reduce((bytes, record) => bytes + BatchBuilder.boundOf(record), 61));
  const baseOffset = options.baseOffset ?? 0;
  records.forEach((record, index) => builder.append(record, baseOffset + index));
  builder.endBatch({
    id: options.producerId ?? noProducer.id,
    epoch: options.producerEpoch ?? noProducer.epoch,
    baseSequence: options.baseSequence ?? noProducer.baseSequence,
  });
  return builder.bytes();
}

/** Where each batch of a buffer begins. Throws the problem of the first one that is not whole. */
export function* batchPositions(bytes: Buffer): Generator<number> {
  for (let at = 0; at < bytes.length; ) {
    const problem = validateBatchShape(bytes, at, bytes.length);
    if (problem !== undefined) throw problem;
    yield at;
    at += batchBytesAt(bytes, at);
  }
}

/** One past the last offset of whole batches that lie back to back; undefined if there are none. */
export function endOffsetOf(bytes: Buffer): number | undefined {
  let end: number | undefined;
  for (let at = 0; at < bytes.length; at += batchBytesAt(bytes, at)) end = lastOffsetAt(bytes, at) + 1;
  return end;
}

/** The records of all batches in a buffer, one object each; where speed counts use RecordCursor. */
export function* records(bytes: Buffer): Generator<StoredRecord> {
  const cursor = new RecordCursor(bytes);
  while (cursor.next()) yield cursor.record();
}
