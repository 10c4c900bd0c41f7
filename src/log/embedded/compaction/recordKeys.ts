import { MillraceError } from "../../../base/errors.ts";
import { attributesAt, BatchAttribute } from "../../../record/batchHeader.ts";
import type { NewRecord } from "../../../record/record.ts";
import { RecordCursor } from "../../../record/recordCursor.ts";
import type { TopicConfig } from "../../contract/partitionedLog.ts";

export const compacts = ({ cleanupPolicy }: TopicConfig): boolean => cleanupPolicy !== "delete";

/** Compaction goes by key: a record without one could neither be kept for ever nor be taken out. */
export const keyMissing = (where: string): MillraceError =>
  new MillraceError("RECORD_WITHOUT_KEY", "A compacted topic takes no record without a key.", {
    domain: "user",
    where,
    hint: "Give every record a key, or send it to a topic that is not compacted.",
  });

export function checkRecordKeys(records: readonly NewRecord[], where: string): void {
  if (records.some(({ key }) => key === null)) throw keyMissing(where);
}

/** Also throws UNSUPPORTED_COMPRESSION: what can't be read now can't be compacted later. */
export function checkBatchKeys(batch: Buffer, where: string): void {
  if ((attributesAt(batch, 0) & BatchAttribute.codecMask) !== 0) throw compressed(where);
  const cursor = new RecordCursor(batch);
  while (cursor.next()) if (cursor.keyBytes < 0) throw keyMissing(where);
}

const compressed = (where: string): MillraceError =>
  new MillraceError("UNSUPPORTED_COMPRESSION", "A compacted topic takes no compressed batch: compaction has to look into its records.", {
    domain: "user",
    where,
    hint: "Set compression.type=none in the producer, or send to a topic that is not compacted.",
  });
