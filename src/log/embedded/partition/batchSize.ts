import { encodeBatch } from "../../../record/batch.ts";
import { BatchBuilder } from "../../../record/batchBuilder.ts";
import { BATCH_HEADER_BYTES } from "../../../record/batchHeader.ts";
import type { NewRecord } from "../../../record/record.ts";
import type { TopicConfig } from "../../contract/partitionedLog.ts";
import { tooLarge } from "./partitionErrors.ts";

/** Throws RECORD_TOO_LARGE if the records don't fit into one batch. They are encoded only if a bound of their size does not say it. */
export function checkRecordsFit(records: readonly NewRecord[], { maxMessageBytes }: TopicConfig, where: string): void {
  const bound = records.reduce((bytes, record) => bytes + BatchBuilder.boundOf(record), BATCH_HEADER_BYTES);
  if (bound <= maxMessageBytes) return;
  const bytes = encodeBatch(records).length;
  if (bytes > maxMessageBytes) throw tooLarge(where, bytes, maxMessageBytes);
}
