import { MillraceError } from "../../base/errors.ts";
import { type SyncPolicy, type TopicConfig, UNLIMITED } from "../contract/partitionedLog.ts";

/** AMQP's limit for names, in bytes of UTF-8. */
const NAME_BYTES_MAX = 255;
/** Each partition costs a folder, and when it is used three open files and a share of every sync. */
const PARTITIONS_MAX = 1024;
/** Positions are int32 in the index. */
const SEGMENT_BYTES_MAX = 2147483647;
const MESSAGE_BYTES_MAX = 1024 * 1024 * 1024;
const TIMESTAMP_TYPES: readonly string[] = ["CreateTime", "LogAppendTime"];

export function checkTopicName(name: string): void {
  const bytes = Buffer.byteLength(name);
  if (bytes >= 1 && bytes <= NAME_BYTES_MAX) return;
  throw new MillraceError("TOPIC_NAME_INVALID", `A topic's name has 1 to ${NAME_BYTES_MAX} bytes, not ${bytes}.`, { domain: "user" });
}

export function checkTopicConfig(name: string, config: TopicConfig): void {
  const { partitions, segmentBytes, maxMessageBytes, sync } = config;
  checkWithin(name, "partitions", partitions, 1, PARTITIONS_MAX);
  checkWithin(name, "segment-bytes", segmentBytes, 1, SEGMENT_BYTES_MAX);
  checkWithin(name, "max-message-bytes", maxMessageBytes, 1, MESSAGE_BYTES_MAX);
  checkWithin(name, "segment-ms", config.segmentMs, 1, Number.MAX_SAFE_INTEGER);
  checkWithin(name, "retention-ms", config.retentionMs, UNLIMITED, Number.MAX_SAFE_INTEGER);
  checkWithin(name, "retention-bytes", config.retentionBytes, UNLIMITED, Number.MAX_SAFE_INTEGER);
  checkOneOf(name, "message-timestamp-type", config.timestampType, TIMESTAMP_TYPES);
  if (sync.kind === "interval") checkWithin(name, "sync-interval-ms", sync.ms, 1, SEGMENT_BYTES_MAX);
}

function checkWithin(name: string, what: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new MillraceError("TOPIC_CONFIG_INVALID", `${what} is ${value}; it is a whole number from ${min} to ${max}.`, {
    domain: "user",
    where: name,
  });
}

function checkOneOf(name: string, what: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new MillraceError("TOPIC_CONFIG_INVALID", `${what} is "${value}"; it is one of ${allowed.join(", ")}.`, {
    domain: "user",
    where: name,
  });
}

/** Only what was asked for counts: whoever asks for nothing in particular takes the topic as it is. */
export function checkSameConfig(name: string, existing: TopicConfig, asked: Partial<TopicConfig>): void {
  const differences = (Object.keys(asked) as (keyof TopicConfig)[])
    .filter((key) => asked[key] !== undefined && text(asked[key]) !== text(existing[key]))
    .map((key) => `${key} is ${text(existing[key])}, not ${text(asked[key])}`);
  if (differences.length === 0) return;
  throw new MillraceError("TOPIC_EXISTS", `Topic "${name}" exists with another configuration: ${differences.join("; ")}.`, {
    domain: "user",
    where: name,
    hint: "Ask for the same configuration, for none, or take another name.",
  });
}

function text(value: number | string | SyncPolicy | undefined): string {
  if (typeof value !== "object") return String(value);
  return value.kind === "interval" ? `interval of ${value.ms} ms` : value.kind;
}
