/**
 * Which arguments there are. What RabbitMQ knows and the node does not do is not implemented (540); everything else that is not known is
 * a mistake (406), said with the nearest known name: a topic that was to keep a day and keeps everything would be noticed much later.
 */
import { nearest } from "../base/nearest.ts";
import { dashed, topicProperties } from "../log/contract/topicProperties.ts";
import type { Arguments } from "./contract.ts";
import { notImplemented, preconditionFailed } from "./errors.ts";

/** They say where and how RabbitMQ keeps a queue; what it does stays the same. */
export const harmless: ReadonlySet<string> = new Set([
  "x-queue-mode",
  "x-queue-version",
  "x-queue-master-locator",
  "x-queue-leader-locator",
  "x-quorum-initial-group-size",
  "x-quorum-target-group-size",
  "x-initial-cluster-size",
]);

const ofEveryQueue = ["x-queue-type", "x-dedupe"];
const ofTopics = ["x-partitions", "x-partition-key", "x-sync", ...Object.values(topicProperties).map((one) => `x-${dashed(one)}`)];

/** RabbitMQ's, which would change what a queue does; where a topic can do it, by which argument. */
const rabbitMqOnly: ReadonlyMap<string, string | undefined> = new Map([
  ["x-message-ttl", undefined],
  ["x-expires", undefined],
  ["x-dead-letter-exchange", undefined],
  ["x-dead-letter-routing-key", undefined],
  ["x-dead-letter-strategy", undefined],
  ["x-max-length", undefined],
  ["x-max-length-bytes", "x-retention-bytes"],
  ["x-max-in-memory-length", undefined],
  ["x-max-in-memory-bytes", undefined],
  ["x-max-age", "x-retention-ms"],
  ["x-max-priority", undefined],
  ["x-overflow", undefined],
  ["x-single-active-consumer", undefined],
  ["x-delivery-limit", undefined],
  ["x-consumer-timeout", undefined],
  ["x-stream-max-segment-size-bytes", "x-segment-bytes"],
  ["x-stream-filter-size-bytes", undefined],
  ["x-ha-policy", undefined],
]);

/** Of a declaration. What was declared before is read as it is. `where` ends the messages: "for queue 'q' in vhost '/'". */
export function checkQueueArgumentNames(args: Arguments, where: string): void {
  const isTopic = args["x-queue-type"] === "stream";
  const known = new Set([...ofEveryQueue, ...(isTopic ? ofTopics : [])]);
  for (const name of Object.keys(args)) {
    if (known.has(name) || harmless.has(name)) continue;
    if (rabbitMqOnly.has(name)) {
      const instead = isTopic ? rabbitMqOnly.get(name) : undefined;
      throw notImplemented(
        `the argument '${name}' ${where} is not implemented${instead === undefined ? "" : `; a stream here has '${instead}'`}`,
      );
    }
    if (ofTopics.includes(name))
      throw preconditionFailed(`invalid arg '${name}' ${where}: it is one of streams ('x-queue-type': 'stream')`);
    throw unknownArgument(name, [...ofEveryQueue, ...ofTopics], where);
  }
}

export function checkExchangeArgumentNames(args: Arguments, where: string): void {
  for (const name of Object.keys(args)) {
    if (name === "alternate-exchange") continue;
    if (name === "x-delayed-type") throw notImplemented(`the argument '${name}' ${where} is not implemented`);
    throw unknownArgument(name, ["alternate-exchange"], where);
  }
}

/** Kafka's own spelling is the nearest one of all: `retention.ms`. */
export function unknownArgument(name: string, known: readonly string[], where: string): Error {
  const dashedName = name.replaceAll(".", "-");
  const meant = known.find((one) => one === `x-${dashedName}`) ?? nearest(dashedName, known) ?? nearest(`x-${dashedName}`, known);
  return preconditionFailed(
    `invalid arg '${name}' ${where}: there is none of this name${meant === undefined ? "" : `; did you mean '${meant}'?`}`,
  );
}
