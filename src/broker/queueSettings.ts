/** What a queue's arguments ask for. Which names there are is in argumentNames.ts. */
import type { SyncPolicy, TopicConfig } from "../log/contract/partitionedLog.ts";
import { dashed, problemWith, type TopicProperty, topicProperties, topicPropertyKeys } from "../log/contract/topicProperties.ts";
import type { HeaderValue } from "../record/message.ts";
import { harmless } from "./argumentNames.ts";
import type { Arguments, QueueOptions } from "./contract.ts";
import type { DedupeLimit } from "./dedupeWindow.ts";
import { durationMs } from "./duration.ts";
import { preconditionFailed } from "./errors.ts";

/** What a topic's partition is chosen by. */
type PartitionKey =
  | { readonly kind: "routing-key" }
  | { readonly kind: "message-id" }
  | { readonly kind: "header"; readonly name: string }
  | { readonly kind: "none" };

export interface TopicSettings {
  readonly kind: "topic";
  /** What was asked for; undefined: as the node's configuration says when the topic is made. */
  readonly partitions: number | undefined;
  readonly partitionKey: PartitionKey;
  /** The same. */
  readonly sync: SyncPolicy | undefined;
  /** What was asked for of Kafka's properties. */
  readonly properties: Partial<TopicConfig>;
  readonly dedupe: DedupeLimit | undefined;
}

interface PlainQueueSettings {
  readonly kind: "queue";
  readonly dedupe: DedupeLimit | undefined;
}

export type QueueSettings = PlainQueueSettings | TopicSettings;

export interface QueueSettingsLimits {
  readonly dedupeIdsMax: number;
  readonly partitionsMax: number;
}

const propertyArgument = (property: TopicProperty): string => `x-${dashed(property)}`;

/** Checks the values and reads them. `where` ends the messages: "for queue 'q' in vhost '/'". */
export function queueSettings(options: QueueOptions, limits: QueueSettingsLimits, where: string): QueueSettings {
  const { arguments: args } = options;
  const type = given(args, "x-queue-type", "classic");
  if (type !== "classic" && type !== "quorum" && type !== "stream") {
    throw preconditionFailed(`invalid arg 'x-queue-type' ${where}: ${shown(type)} is none of classic, quorum, stream`);
  }
  const isTopic = type === "stream";
  const dedupe = dedupeLimit(args, limits.dedupeIdsMax, where);
  if (!isTopic) return { kind: "queue", dedupe };
  if (!options.durable) throw preconditionFailed(`invalid property 'non-durable' ${where}: a stream is durable`);
  if (options.exclusive) throw preconditionFailed(`invalid property 'exclusive' ${where}: a stream is not`);
  if (options.autoDelete) throw preconditionFailed(`invalid property 'auto-delete' ${where}: a stream is not`);
  const partitions = partitionCount(args, limits.partitionsMax, where);
  const key = partitionKey(args, where);
  const properties = topicPropertiesOf(args, where);
  const { cleanupPolicy } = properties;
  if (key.kind === "none" && cleanupPolicy !== undefined && cleanupPolicy !== "delete") {
    throw preconditionFailed(`invalid arg 'x-cleanup-policy' ${where}: '${cleanupPolicy}' goes by key, and 'x-partition-key' is none`);
  }
  return { kind: "topic", partitions, partitionKey: key, sync: syncPolicy(args, where), properties, dedupe };
}

/** Kafka's properties as arguments: "x-retention-ms" for retention.ms. A time may be written with its unit. */
function topicPropertiesOf(args: Arguments, where: string): Partial<TopicConfig> {
  const asked: Record<string, unknown> = {};
  for (const key of topicPropertyKeys) {
    const property = topicProperties[key];
    const name = propertyArgument(property);
    const given = args[name];
    if (given === undefined) continue;
    const isTime = property.check.kind === "whole" && property.check.unit === "ms";
    const value = typeof given === "string" && isTime ? durationMs(given) : (wholeNumber(given) ?? given);
    const problem = problemWith(property, value);
    if (problem !== undefined) throw preconditionFailed(`invalid arg '${name}' ${where}: ${shown(given)}; ${problem}`);
    asked[key] = value;
  }
  return asked;
}

/** The arguments by which two declarations of a queue are compared. */
export function comparedArguments(args: Arguments): Arguments {
  const compared = Object.entries(args).filter(([name]) => name.startsWith("x-") && !harmless.has(name));
  return { "x-queue-type": "classic", ...Object.fromEntries(compared) };
}

function partitionCount(args: Arguments, partitionsMax: number, where: string): number | undefined {
  const value = args["x-partitions"];
  if (value === undefined) return undefined;
  const partitions = wholeNumber(value);
  if (partitions !== undefined && partitions >= 1 && partitions <= partitionsMax) return partitions;
  throw preconditionFailed(`invalid arg 'x-partitions' ${where}: ${shown(value)} is not a whole number from 1 to ${partitionsMax}`);
}

function partitionKey(args: Arguments, where: string): PartitionKey {
  const value = given(args, "x-partition-key", "routing-key");
  if (value === "routing-key" || value === "message-id" || value === "none") return { kind: value };
  if (typeof value === "string" && value.startsWith("header:") && value.length > "header:".length) {
    return { kind: "header", name: value.slice("header:".length) };
  }
  throw preconditionFailed(
    `invalid arg 'x-partition-key' ${where}: ${shown(value)} is none of routing-key, message-id, header:<name>, none`,
  );
}

function syncPolicy(args: Arguments, where: string): SyncPolicy | undefined {
  const value = args["x-sync"];
  if (value === undefined) return undefined;
  if (value === "always" || value === "never") return { kind: value };
  const ms = typeof value === "string" ? durationMs(value) : undefined;
  if (ms !== undefined && ms > 0) return { kind: "interval", ms };
  throw preconditionFailed(`invalid arg 'x-sync' ${where}: ${shown(value)} is none of always, never, a time like "10 ms"`);
}

function dedupeLimit(args: Arguments, dedupeIdsMax: number, where: string): DedupeLimit | undefined {
  const given = args["x-dedupe"];
  if (given === undefined) return undefined;
  const idsMax = wholeNumber(given);
  if (idsMax !== undefined && idsMax >= 1 && idsMax <= dedupeIdsMax) return { kind: "count", idsMax };
  const ms = typeof given === "string" ? durationMs(given) : undefined;
  if (ms !== undefined && ms > 0) return { kind: "time", ms };
  throw preconditionFailed(
    `invalid arg 'x-dedupe' ${where}: ${shown(given)} is neither a number of message-ids from 1 to ${dedupeIdsMax} nor a time like "10 min"`,
  );
}

const given = (args: Arguments, name: string, fallback: HeaderValue): HeaderValue => {
  const value = args[name];
  return value === undefined ? fallback : value;
};

function wholeNumber(value: HeaderValue): number | undefined {
  const number = typeof value === "bigint" ? Number(value) : value;
  return typeof number === "number" && Number.isSafeInteger(number) ? number : undefined;
}

export const shown = (value: HeaderValue | undefined): string => (value === undefined ? "none" : `'${String(value)}'`);
