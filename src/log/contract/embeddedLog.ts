/** What only the embedded log can do, for the broker and the protocols in the same process. Not portable. */
import type { Receipt } from "../../record/receipt.ts";
import type { NewRecord } from "../../record/record.ts";
import type { PartitionedLog, TopicDescription } from "./partitionedLog.ts";

export interface EmbeddedTopic {
  readonly description: TopicDescription;
  /**
   * Hot path: copies the record into the partition's open batch and returns its offset. The batch is closed, written and
   * synced with everything else that came meanwhile; `receipt` then leaves. Never waits: the bytes are taken from the shared
   * ByteBudget until they are durable. Throws RECORD_TOO_LARGE, or LOG_FAILED after a failed write or sync.
   */
  append(partition: number, record: NewRecord, receipt: Receipt | undefined): number;
  /** `receipt` joins whatever is not durable yet of this partition (a duplicate is confirmed together with its original). */
  joinPending(partition: number, receipt: Receipt): void;
  /** Next offset to be given, per partition. */
  endOffset(partition: number): number;
  highWatermark(partition: number): number;
}

export interface EmbeddedLog extends PartitionedLog {
  topic(name: string): EmbeddedTopic | undefined;
  topicNames(): string[];
  deleteTopic(name: string): Promise<void>;
  /** Syncs and closes everything; appends are refused from the first moment on. */
  close(): Promise<void>;
}
