/** The `log` section of the configuration. */
import { z } from "zod";
import { cleanupPolicies, timestampTypes } from "./contract/partitionedLog.ts";
import { type TopicProperty, topicProperties } from "./contract/topicProperties.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

const whole = (min: number, max: number, fallback: number, description: string): z.ZodDefault<z.ZodInt> =>
  z.int().min(min).max(max).default(fallback).meta({ description });

/**
 * What a new topic has of a property when nothing else was asked for. Tighter bounds and another default than the topic's own, where given.
 */
const ofTopics = ({ check, default: fallback, description }: TopicProperty, own: { min?: number; max?: number; default?: number } = {}) =>
  check.kind === "whole"
    ? whole(own.min ?? check.min, own.max ?? check.max, own.default ?? (fallback as number), description)
    : z
        .number()
        .min(0)
        .max(1)
        .default(fallback as number)
        .meta({ description });

const oneOf = <const T extends readonly string[]>(values: T, { default: fallback, description }: TopicProperty) =>
  z
    .enum(values)
    .default(fallback as never)
    .meta({ description });

export const logConfig = z.strictObject({
  sync: z.enum(["always", "interval", "never"]).default("always").meta({
    description: "when a new topic's records are forced to the disk: before they are confirmed, at most sync-interval-ms later, or never",
  }),
  syncIntervalMs: whole(1, 3_600_000, 50, "with sync: interval, what a loss of power may take"),
  partitions: whole(1, 1024, 1, "of a topic that does not say how many"),
  segmentBytes: ofTopics(topicProperties.segmentBytes, { min: 4 * KiB, default: 256 * MiB }),
  segmentMs: ofTopics(topicProperties.segmentMs),
  retentionMs: ofTopics(topicProperties.retentionMs),
  retentionBytes: ofTopics(topicProperties.retentionBytes),
  cleanupPolicy: oneOf(cleanupPolicies, topicProperties.cleanupPolicy),
  deleteRetentionMs: ofTopics(topicProperties.deleteRetentionMs),
  minCompactionLagMs: ofTopics(topicProperties.minCompactionLagMs),
  minCleanableDirtyRatio: ofTopics(topicProperties.minCleanableDirtyRatio),
  messageTimestampType: oneOf(timestampTypes, topicProperties.timestampType),
  diskReserveBytes: whole(0, 2 ** 40, 64 * MiB, "topics and queues take nothing while the disk has less than this left"),
  producerIdExpirationMs: whole(
    1000,
    Number.MAX_SAFE_INTEGER,
    24 * 3_600_000,
    "a Kafka producer that appended nothing to a partition for so long is forgotten there",
  ),
  maxMessageBytes: ofTopics(topicProperties.maxMessageBytes, { min: KiB, max: 256 * MiB, default: 17 * MiB }),
  pendingBytesMax: whole(64 * KiB, 2 ** 40, 64 * MiB, "bytes published and not yet durable; above it publishers' sockets pause"),
  journalFileBytes: whole(MiB, 2 ** 31 - 1, 64 * MiB, "size of each file of the queues' journal"),
  journalBytesMax: whole(
    3 * MiB,
    2 ** 40,
    512 * MiB,
    "of the journal's files together (three at least): what a start after a crash has to read",
  ),
});

export type LogConfig = z.output<typeof logConfig>;

/** For topics that don't say it themselves. */
export function topicDefaults(config: LogConfig) {
  const { partitions, sync, syncIntervalMs, segmentBytes, segmentMs, maxMessageBytes, retentionMs, retentionBytes } = config;
  const { cleanupPolicy, deleteRetentionMs, minCompactionLagMs, minCleanableDirtyRatio, messageTimestampType } = config;
  return {
    partitions,
    segmentBytes,
    segmentMs,
    maxMessageBytes,
    retentionMs,
    retentionBytes,
    cleanupPolicy,
    deleteRetentionMs,
    minCompactionLagMs,
    minCleanableDirtyRatio,
    timestampType: messageTimestampType,
    sync: sync === "interval" ? { kind: sync, ms: syncIntervalMs } : { kind: sync },
  };
}

export function journalOptions({ journalFileBytes, journalBytesMax }: LogConfig): {
  readonly fileBytes: number;
  readonly bytesMax: number;
} {
  return { fileBytes: journalFileBytes, bytesMax: journalBytesMax };
}
