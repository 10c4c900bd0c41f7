/**
 * The seam for scale (portable): what pipelines and connectors may rely on, whether the log is embedded or a Kafka
 * cluster. Every implementation passes `partitionedLogConformance` (test/log/conformance.ts).
 *
 * Offsets are safe integers: they increase within a partition but are not dense; nobody counts by subtraction. In a compacted topic a
 * batch may have fewer records than offsets, or none: whoever reads goes on after its last offset (`endOffsetOf` in record/batch.ts).
 */
import type { NewRecord } from "../../record/record.ts";

/** When an append counts as durable: group commit before the acknowledgement, at most `ms` later, or never forced. */
export type SyncPolicy = { readonly kind: "always" } | { readonly kind: "interval"; readonly ms: number } | { readonly kind: "never" };

/** Kafka's property of the same meaning is named with each; UNLIMITED (-1) where it says so. */
export interface TopicConfig {
  readonly partitions: number;
  readonly sync: SyncPolicy;
  /** segment.bytes: a segment rolls before it would pass this size. */
  readonly segmentBytes: number;
  /** segment.ms: a segment takes no batch whose timestamp is this far above its first one's. */
  readonly segmentMs: number;
  /** max.message.bytes: the largest batch that is taken. */
  readonly maxMessageBytes: number;
  /** retention.ms: a segment goes when its newest record is older. UNLIMITED: never for its age. */
  readonly retentionMs: number;
  /** retention.bytes: the oldest segments go while the others hold this much. UNLIMITED: never for the size. */
  readonly retentionBytes: number;
  /** message.timestamp.type: whether a record keeps the time its producer gave it, or gets that of its append. */
  readonly timestampType: (typeof timestampTypes)[number];
  /** cleanup.policy: old segments go by age and size, or records go for which a later one of their key is there, or both. */
  readonly cleanupPolicy: (typeof cleanupPolicies)[number];
  /** delete.retention.ms: compaction keeps a record without value for so long after it first went over it. */
  readonly deleteRetentionMs: number;
  /** min.compaction.lag.ms: compaction leaves a record alone for so long. */
  readonly minCompactionLagMs: number;
  /** min.cleanable.dirty.ratio: compaction begins when more than this share of the bytes is new since the last time. 0 to 1. */
  readonly minCleanableDirtyRatio: number;
}

export const timestampTypes = ["CreateTime", "LogAppendTime"] as const;
export const cleanupPolicies = ["delete", "compact", "compact,delete"] as const;

export const UNLIMITED = -1;

/** Kafka's defaults, but for retention: nothing is removed unless somebody asked for it (event times may lie years back). */
export const topicConfigDefaults: TopicConfig = {
  partitions: 1,
  sync: { kind: "always" },
  segmentBytes: 1024 * 1024 * 1024,
  segmentMs: 7 * 24 * 3_600_000,
  maxMessageBytes: 1024 * 1024 + 12,
  retentionMs: UNLIMITED,
  retentionBytes: UNLIMITED,
  timestampType: "CreateTime",
  cleanupPolicy: "delete",
  deleteRetentionMs: 24 * 3_600_000,
  minCompactionLagMs: 0,
  minCleanableDirtyRatio: 0.5,
};

export interface TopicDescription {
  readonly name: string;
  readonly config: TopicConfig;
  readonly partitions: readonly PartitionDescriptor[];
}

/**
 * Enough to read a partition from any thread: structured-cloneable, and opaque to everyone but the log that made it.
 */
export interface PartitionDescriptor {
  readonly topic: string;
  readonly partition: number;
  /** The implementation's own; never looked into by another layer. */
  readonly access: unknown;
}

/**
 * What a reader may see of transactions. `read_uncommitted`: every batch as it is kept, aborted ones and markers too.
 * `read_committed`: only up to the first transaction that is open; batches of aborted transactions and markers come as empty ones
 * (no records, their offsets kept), so that whoever reads on advances and need not know of transactions.
 */
export type Isolation = "read_uncommitted" | "read_committed";

export interface ReaderOptions {
  /** Default `read_uncommitted`. */
  readonly isolation?: Isolation;
}

export interface PartitionReader {
  readonly topic: string;
  readonly partition: number;
  /** The first offset that is kept. */
  startOffset(): number;
  /** One past the last offset that may be read: what is durable under the topic's policy and, with `read_committed`, decided. */
  highWatermark(): number;
  /**
   * Whole record batches (v2, back to back), beginning with the one that holds `offset` or the first one after it, up to
   * about `bytesMax` (always at least one batch) and never past the high watermark. Empty at the high watermark.
   * A batch may have no records, or fewer than offsets. Below the start or above the high watermark: MillraceError OFFSET_OUT_OF_RANGE.
   * The buffer belongs to the caller. Who reads much and is done with a buffer that came from here gives it back as `reuse`, and what
   * comes next may lie in its memory; nobody has to. A reader that did so was five times as fast: fresh memory costs a garbage collection
   * every 64 MiB.
   */
  read(offset: number, bytesMax: number, reuse?: Buffer): Promise<Buffer>;
  /** Resolves when the high watermark is above `offset`, or when `signal` aborts; wakes without polling. */
  untilAbove(offset: number, signal: AbortSignal): Promise<void>;
  /**
   * The first record, by offset, whose timestamp is `timestamp` or later; undefined if none that may be read is. In a compressed batch
   * the batch's first offset stands for its records.
   */
  offsetForTimestamp(timestamp: number): Promise<{ readonly offset: number; readonly timestamp: number } | undefined>;
  close(): Promise<void>;
}

/** Who appends: the log refuses or recognises what this producer appended before (Kafka's idempotent producer). */
export interface ProducerIdentity {
  /** Stable over restarts, e.g. "pipeline:hourly-delays:late"; the log derives the producer id from it. */
  readonly name: string;
  /** A higher epoch fences the lower ones and begins its sequences at 0. 0..32767 */
  readonly epoch: number;
}

export interface PartitionedLog {
  /** Creates it, or returns the existing one if its configuration is the same; else TOPIC_EXISTS with the difference. */
  createTopic(name: string, config?: Partial<TopicConfig>): Promise<TopicDescription>;
  describeTopic(name: string): Promise<TopicDescription | undefined>;
  openReader(descriptor: PartitionDescriptor, options?: ReaderOptions): Promise<PartitionReader>;
  /**
   * Appends all records as one batch, and resolves when that is durable. `sequence` is the first record's number in this
   * producer's own count for the partition, from 0: the same batch again (same first sequence and count, among the last five) resolves
   * without being kept twice; a gap is OUT_OF_ORDER_SEQUENCE, a lower epoch than seen PRODUCER_FENCED.
   */
  append(producer: ProducerIdentity, topic: string, partition: number, sequence: number, records: readonly NewRecord[]): Promise<void>;
  /** Where a producer stands in a partition: the epoch last seen and the next sequence; undefined if it never appended. */
  producerState(
    name: string,
    topic: string,
    partition: number,
  ): Promise<{ readonly epoch: number; readonly nextSequence: number } | undefined>;
  /** Forces to the disk what the topic's policy has not yet; resolves when everything that is readable is durable. */
  sync(topic: string): Promise<void>;
}
