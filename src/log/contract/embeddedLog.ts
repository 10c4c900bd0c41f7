/** What only the embedded log can do, for the broker and the protocols in the same process. Not portable. */
import type { MillraceError } from "../../base/errors.ts";
import type { Receipt } from "../../record/receipt.ts";
import type { NewRecord } from "../../record/record.ts";
import type { PartitionedLog, TopicDescription } from "./partitionedLog.ts";

/** What became of a producer's batch. */
export interface AppendedBatch {
  readonly baseOffset: number;
  /** When it was appended, ms since 1970 UTC, where the topic's timestamps say that; else -1. */
  readonly logAppendTime: number;
  /** It was there already, at `baseOffset`. */
  readonly duplicate: boolean;
}

/** How a coordinator ends a producer's transaction in a partition. */
export interface TransactionEnd {
  readonly producerId: bigint;
  /** The producer's; higher than seen: it is taken, and the sequences begin anew. */
  readonly epoch: number;
  /** The coordinator's own. */
  readonly coordinatorEpoch: number;
  readonly outcome: "commit" | "abort";
}

export interface OpenTransaction {
  readonly producerId: bigint;
  readonly epoch: number;
  readonly firstOffset: number;
}

/** What a Kafka client needs to leave out the batches of an aborted transaction. */
export interface AbortedTransaction {
  readonly producerId: bigint;
  /** Of its first batch. */
  readonly firstOffset: number;
  /** Of the marker that ended it. */
  readonly lastOffset: number;
}

export interface EmbeddedTopic {
  readonly description: TopicDescription;
  /**
   * Hot path: copies the record into the partition's open batch and returns its offset. The batch is closed, written and
   * synced with everything else that came meanwhile; `receipt` then leaves. Never waits: the bytes are taken from the shared
   * ByteBudget until they are durable. Throws RECORD_TOO_LARGE; RECORD_WITHOUT_KEY where the topic is compacted; LOG_FAILED after a failed
   * write or sync and LOG_DISK_FULL, both until the partition has come round by itself. A receipt may fail with these too, and with
   * LOG_NOT_OPENED: the partition's files could not be opened, so the record is surely not there. Of a batch that a producer sent
   * again they say nothing of the tries before.
   */
  append(partition: number, record: NewRecord, receipt: Receipt | undefined): number;
  /** Throws what `append` of this record would throw now; within the same turn that then takes it. */
  checkTakes(partition: number, record: NewRecord): void;
  /**
   * One batch (v2) as a producer encoded it, which is kept and served without being parsed: its CRC, counts and size are checked, its
   * offset written into it. `batch` is the log's until this resolves, when it is durable under the topic's policy. With a producer id: a
   * batch that is among its last five is not kept twice; OUT_OF_ORDER_SEQUENCE, PRODUCER_FENCED. Also BATCH_CORRUPT, RECORD_TOO_LARGE. A
   * producer's first transactional batch opens a transaction in the partition, which `endTransaction` ends; until then another batch of
   * this producer that is not transactional is INVALID_TXN_STATE. Where the topic is compacted its records are looked at:
   * RECORD_WITHOUT_KEY, UNSUPPORTED_COMPRESSION.
   */
  appendBatch(partition: number, batch: Buffer): Promise<AppendedBatch>;
  /**
   * Writes the marker (Kafka's control batch) that commits or aborts the producer's open transaction in the partition; resolves with its
   * offset when it is durable under the topic's policy. Without an open transaction the marker changes nothing, so doing it again is
   * harmless. A lower epoch than the producer's is PRODUCER_FENCED, a lower one than the last coordinator's TRANSACTION_COORDINATOR_FENCED.
   */
  endTransaction(partition: number, end: TransactionEnd): Promise<number>;
  /** The first offset of the oldest open transaction, or the high watermark: below it all is decided. */
  lastStableOffset(partition: number): number;
  /**
   * Those that have a batch from `fromOffset` on and below `toOffset` (which is at most the last stable offset), in order of their ends.
   */
  abortedTransactions(partition: number, fromOffset: number, toOffset: number): Promise<readonly AbortedTransaction[]>;
  /** In order of their first offsets. */
  openTransactions(partition: number): Promise<readonly OpenTransaction[]>;
  /** `receipt` joins whatever is not durable yet of this partition (a duplicate is confirmed together with its original). */
  joinPending(partition: number, receipt: Receipt): void;
  /** Next offset to be given, per partition. */
  endOffset(partition: number): number;
  highWatermark(partition: number): number;
  /** The first offset that is kept. */
  startOffset(partition: number): number;
  /** Why the partition takes nothing now; undefined: it does. */
  refusal(partition: number): MillraceError | undefined;
  /**
   * After a failed write or sync: the records from `offset` on are not kept (their receipts failed), and their offsets are given
   * again. Called before that happens.
   */
  onCut(listener: (partition: number, offset: number) => void): void;
}

/** What is left of the disk above the reserve, for all who fill it. */
export interface DiskRoomLeft {
  /** Throws LOG_DISK_FULL if these bytes would go into the reserve. */
  take(bytes: number): Promise<void>;
}

export interface EmbeddedLog extends PartitionedLog {
  /** The queues' journal takes from it too: the reserve is one. */
  readonly space: DiskRoomLeft;
  topic(name: string): EmbeddedTopic | undefined;
  topicNames(): string[];
  deleteTopic(name: string): Promise<void>;
  /**
   * Everything below `offset` is not readable any more, durably; returns the first offset that is kept (Kafka's DeleteRecords).
   * POLICY_VIOLATION where the topic is only compacted.
   */
  deleteRecords(topic: string, partition: number, offset: number): Promise<number>;
  /** What the log does by itself in the background, now: retention, compaction, and rest for what is idle. */
  maintain(): Promise<void>;
  /** Syncs and closes everything; appends are refused from the first moment on. */
  close(): Promise<void>;
}
