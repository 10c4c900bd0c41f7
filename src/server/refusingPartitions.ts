import type { EmbeddedLog } from "../log/contract/embeddedLog.ts";
import { toParts } from "./errorTransfer.ts";
import type { NodeStatus } from "./status.ts";

/** A full disk stops all of them at once, for one reason: some say enough. */
const shownMax = 20;

/** The partitions of all topics that take nothing now. */
export function refusingPartitions(log: Pick<EmbeddedLog, "topicNames" | "topic">): NodeStatus["refusing"] {
  const first: NodeStatus["refusing"]["first"][number][] = [];
  let count = 0;
  for (const name of log.topicNames()) {
    const topic = log.topic(name);
    // without its descriptors: those would make partitions that nobody uses
    for (let partition = 0; partition < (topic?.description.config.partitions ?? 0); partition++) {
      const refusal = topic?.refusal(partition);
      if (refusal === undefined || count++ >= shownMax) continue;
      first.push({ partition: `${name}-${partition}`, ...toParts(refusal, refusal.code, refusal.message) });
    }
  }
  return { count, first };
}
