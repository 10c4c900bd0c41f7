import { expect, test } from "vitest";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { confirm, message } from "./message.ts";
import { BrokerNode } from "./node.ts";

const syncsOf = (node: BrokerNode): number => (node.fileSystem as SimulatedFileSystem).syncs.file;

test("a message that goes to ten durable queues is written once and costs one sync", async () => {
  const node = await BrokerNode.start();
  await node.exchange("all", "fanout");
  const names = Array.from({ length: 10 }, (_, n) => `q${n}`);
  for (const name of names) {
    await node.queue(name);
    await node.host.bindQueue(name, "all", "", {}, node);
  }
  const before = { syncs: node.journal.stats.syncs, bytes: node.journal.stats.bytesWritten };
  const { receipt, settled } = confirm();
  node.host.publish(message({ exchange: "all", body: "x".repeat(10_000) }), receipt);
  receipt.seal();
  await settled;
  expect(node.journal.stats.syncs - before.syncs).toBe(1);
  expect(node.journal.stats.bytesWritten - before.bytes).toBeLessThan(11_000);
  const again = await node.crash();
  expect(again.broker.status().queues.map(({ ready }) => ready)).toEqual(names.map(() => 1));
  await again.stop();
});

test("durable queues that are declared and bound at once share syncs, and all of them are there after a crash", async () => {
  const node = await BrokerNode.start();
  await node.exchange("all", "fanout");
  const before = syncsOf(node);
  const names = Array.from({ length: 500 }, (_, n) => `q${n}`);
  await Promise.all(names.flatMap((name) => [node.queue(name), node.queue(name), node.host.bindQueue(name, "all", "", {}, node)]));
  expect(syncsOf(node) - before).toBeLessThan(20);
  const again = await node.crash();
  again.host.publish(message({ exchange: "all", body: "x" }), undefined);
  const { queues } = again.broker.status();
  expect(queues.map(({ name, ready }) => [name, ready]).sort()).toEqual(names.map((name) => [name, 1]).sort());
  await again.stop();
});

test("a limit on queues holds also for those that are declared at once", async () => {
  const node = await BrokerNode.start({ limits: { queuesMax: 5 } });
  const outcomes = await Promise.allSettled(Array.from({ length: 9 }, (_, n) => node.queue(`q${n}`)));
  expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(5);
  await node.stop();
});
