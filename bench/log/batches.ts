/** Batches as a producer encodes them, appended as they are. */
import { crc32cRange } from "../../src/base/crc32c.ts";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { BatchBuilder } from "../../src/record/batchBuilder.ts";
import { BatchField, CRC_COVERS_FROM, writeInt64 } from "../../src/record/batchHeader.ts";
import type { NewRecord } from "../../src/record/record.ts";

export const GB = 1_000_000_000;
export const KiB = 1024;
export const MiB = 1024 * 1024;
/** Of the benchmarks that need one. */
export const TOPIC = "t";
/** What producers keep in flight; the larger the more goes in one sync. */
const IN_FLIGHT_BYTES = 8 * MiB;

export const recordOf = (valueBytes: number): NewRecord => ({
  key: null,
  value: Buffer.alloc(valueBytes, "abcdefghijklmnop"),
  headers: [],
  timestamp: Date.UTC(2001, 0, 1),
});

/** As many records of `valueBytes` as go into a batch of `batchBytes`. */
export function batchOf(valueBytes: number, batchBytes: number): { readonly batch: Buffer; readonly records: number } {
  const record = recordOf(valueBytes);
  const builder = new BatchBuilder(batchBytes);
  do builder.append(record, builder.count);
  while (builder.batchBytes + BatchBuilder.boundOf(record) <= batchBytes);
  const records = builder.count;
  builder.endBatch();
  return { batch: Buffer.from(builder.bytes()), records };
}

/** The batch again with other times; its records keep their distances. */
export function setTimestamp(batch: Buffer, timestamp: number): void {
  writeInt64(batch, BatchField.baseTimestamp, timestamp);
  writeInt64(batch, BatchField.maxTimestamp, timestamp);
  batch.writeUInt32BE(crc32cRange(batch, CRC_COVERS_FROM, batch.length), BatchField.crc);
}

/** @param each is called before a batch goes; with it every batch in flight needs memory of its own. */
export async function appendBatches(
  topic: EmbeddedTopic,
  batch: Buffer,
  count: number,
  each?: (batch: Buffer, n: number) => void,
): Promise<void> {
  const copies = Array.from({ length: Math.ceil(IN_FLIGHT_BYTES / batch.length) }, () => Buffer.from(batch));
  let next = 0;
  const lane = async (copy: Buffer): Promise<void> => {
    while (next < count) {
      each?.(copy, next);
      next++;
      await topic.appendBatch(0, copy);
    }
  };
  await Promise.all(copies.map(lane));
}
