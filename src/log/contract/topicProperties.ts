/**
 * The properties of a topic that Kafka has too, each in one place: by Kafka's name (the configuration and an AMQP argument have it with
 * dashes), with what may stand there, the default of a new topic, and what it is.
 */
import { cleanupPolicies, type TopicConfig, timestampTypes, topicConfigDefaults, UNLIMITED } from "./partitionedLog.ts";

type PropertyKey = Exclude<keyof TopicConfig, "partitions" | "sync">;

/** What may stand there. "share": a number from 0 to 1. */
type Check =
  | { readonly kind: "whole"; readonly min: number; readonly max: number; readonly unit: "ms" | "bytes" }
  | { readonly kind: "share" }
  | { readonly kind: "oneOf"; readonly values: readonly string[] };

export interface TopicProperty {
  readonly kafkaName: string;
  readonly check: Check;
  readonly default: number | string;
  readonly description: string;
}

/** Positions are int32 in the index. */
export const SEGMENT_BYTES_MAX = 2147483647;
const MESSAGE_BYTES_MAX = 1024 * 1024 * 1024;

const whole = (unit: "ms" | "bytes", min: number, max = Number.MAX_SAFE_INTEGER): Check => ({ kind: "whole", min, max, unit });
const property = (key: PropertyKey, kafkaName: string, check: Check, description: string): TopicProperty => ({
  kafkaName,
  check,
  default: topicConfigDefaults[key],
  description,
});

export const topicProperties: Readonly<Record<PropertyKey, TopicProperty>> = {
  segmentBytes: property(
    "segmentBytes",
    "segment.bytes",
    whole("bytes", 1, SEGMENT_BYTES_MAX),
    "a segment file rolls before it would pass this size",
  ),
  segmentMs: property(
    "segmentMs",
    "segment.ms",
    whole("ms", 1),
    "a segment takes no record whose timestamp is this far above its first one's",
  ),
  maxMessageBytes: property(
    "maxMessageBytes",
    "max.message.bytes",
    whole("bytes", 1, MESSAGE_BYTES_MAX),
    "the largest batch, and so the largest record, that a topic takes",
  ),
  retentionMs: property(
    "retentionMs",
    "retention.ms",
    whole("ms", UNLIMITED),
    "a new topic's segments go when their newest record is older; -1: never for their age",
  ),
  retentionBytes: property(
    "retentionBytes",
    "retention.bytes",
    whole("bytes", UNLIMITED),
    "a new topic's oldest segments go while the others hold this much; -1: never",
  ),
  timestampType: property(
    "timestampType",
    "message.timestamp.type",
    { kind: "oneOf", values: timestampTypes },
    "whether a new topic's records keep the time that their producer gave them, or get that of their append",
  ),
  cleanupPolicy: property(
    "cleanupPolicy",
    "cleanup.policy",
    { kind: "oneOf", values: cleanupPolicies },
    "how a new topic gets rid of old records: by age and size, by key, or both",
  ),
  deleteRetentionMs: property(
    "deleteRetentionMs",
    "delete.retention.ms",
    whole("ms", 0),
    "compaction keeps a record without value for so long after it first went over it",
  ),
  minCompactionLagMs: property(
    "minCompactionLagMs",
    "min.compaction.lag.ms",
    whole("ms", 0),
    "compaction leaves a record alone for so long",
  ),
  minCleanableDirtyRatio: property(
    "minCleanableDirtyRatio",
    "min.cleanable.dirty.ratio",
    { kind: "share" },
    "compaction begins when more than this share of a topic's bytes is new since the last time",
  ),
};

export const topicPropertyKeys = Object.keys(topicProperties) as PropertyKey[];

/** As the configuration and arguments write it. */
export const dashed = ({ kafkaName }: TopicProperty): string => kafkaName.replaceAll(".", "-");

/** Why the value may not stand there; undefined: it may. */
export function problemWith({ check }: TopicProperty, value: unknown): string | undefined {
  if (check.kind === "oneOf") return check.values.includes(value as string) ? undefined : `it is one of ${check.values.join(", ")}`;
  const { min, max } = check.kind === "share" ? { min: 0, max: 1 } : check;
  const fits = typeof value === "number" && value >= min && value <= max && (check.kind === "share" || Number.isInteger(value));
  return fits ? undefined : `it is a ${check.kind === "share" ? "number" : "whole number"} from ${min} to ${max}`;
}
