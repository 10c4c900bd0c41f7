/**
 * `node restartChild.js topic|queue <folder>`: opens what is there, reads and writes once, says how many ms that took and how many it is since
 * the process began, and goes on writing until it is killed.
 */
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { Receipt } from "../../src/record/receipt.ts";
import { withLog } from "../workspace.ts";
import { appendBatches, batchOf, GB, KiB, TOPIC } from "./batches.ts";
import { declareQueues, messageTo, openBenchBroker } from "./brokers.ts";
import { publishAll } from "./publishing.ts";

const [, , kind, folder = ""] = process.argv;
const openedAt = performance.now();
const ready = (): void => console.log(performance.now() - openedAt, performance.now());

if (kind === "topic") await topic();
else await queue();

function topic(): Promise<void> {
  return withLog(folder, async (log) => {
    const topic = log.topic(TOPIC) as EmbeddedTopic;
    const reader = await log.openReader(topic.description.partitions[0] as never);
    const { batch } = batchOf(1024, 16 * KiB);
    await reader.read(Math.floor(reader.highWatermark() / 2), batch.length);
    await topic.appendBatch(0, batch);
    ready();
    await appendBatches(topic, batch, Number.POSITIVE_INFINITY);
  });
}

async function queue(): Promise<void> {
  const bench = await openBenchBroker(folder);
  const [address] = await declareQueues(bench.host, 1, bench);
  if (address === undefined) throw new Error("there is no queue");
  const first = await bench.host.get(address.routingKey, false, bench);
  if (first === undefined) throw new Error("what was parked is gone");
  first.queue.acknowledge(first.delivery.offset);
  await new Promise<void>((resolve, reject) => {
    const receipt = new Receipt((failure) => (failure === undefined ? resolve() : reject(failure)));
    bench.host.publish(messageTo(address, Buffer.alloc(1024)), receipt);
    receipt.seal();
  });
  ready();
  for (;;) await publishAll(bench, [address], GB);
}
