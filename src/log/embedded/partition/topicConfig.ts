import { MillraceError } from "../../../base/errors.ts";
import type { SyncPolicy, TopicConfig } from "../../contract/partitionedLog.ts";
import { dashed, problemWith, topicProperties, topicPropertyKeys } from "../../contract/topicProperties.ts";

/** AMQP's limit for names, in bytes of UTF-8. */
const NAME_BYTES_MAX = 255;
/** Each partition costs a folder, and when it is used three open files and a share of every sync. */
const PARTITIONS_MAX = 1024;
/** What a timer takes. */
const SYNC_INTERVAL_MS_MAX = 2147483647;

export function checkTopicName(name: string): void {
  const bytes = Buffer.byteLength(name);
  if (bytes >= 1 && bytes <= NAME_BYTES_MAX) return;
  throw new MillraceError("TOPIC_NAME_INVALID", `A topic's name has 1 to ${NAME_BYTES_MAX} bytes, not ${bytes}.`, { domain: "user" });
}

export function checkTopicConfig(name: string, config: TopicConfig): void {
  const { partitions, sync } = config;
  checkWithin(name, "partitions", partitions, 1, PARTITIONS_MAX);
  for (const key of topicPropertyKeys) {
    const problem = problemWith(topicProperties[key], config[key]);
    if (problem !== undefined) throw invalid(name, `${dashed(topicProperties[key])} is ${config[key]}; ${problem}.`);
  }
  if (sync.kind === "interval") checkWithin(name, "sync-interval-ms", sync.ms, 1, SYNC_INTERVAL_MS_MAX);
}

function checkWithin(name: string, what: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw invalid(name, `${what} is ${value}; it is a whole number from ${min} to ${max}.`);
}

const invalid = (name: string, what: string): MillraceError =>
  new MillraceError("TOPIC_CONFIG_INVALID", what, { domain: "user", where: name });

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
