import { expect, test } from "vitest";
import { TestConsumer } from "./consumer.ts";
import { confirm, message } from "./message.ts";
import { BrokerNode, turns } from "./node.ts";

const journalFileBytes = 1 << 13;
const journalBytesMax = journalFileBytes * 4;
const start = (seed: number): Promise<BrokerNode> =>
  BrokerNode.start({ seed, journalFileBytes, journalBytesMax, limits: { queueCacheBytesMax: 100 } });

async function publish(node: BrokerNode, key: string, body: string, id?: string): Promise<void> {
  const { receipt, settled } = confirm();
  node.host.publish(message({ key, body, ...(id === undefined ? {} : { id }) }), receipt);
  receipt.seal();
  await settled;
}

async function flow(node: BrokerNode, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n++) {
    await publish(node, "busy", `${n}`.padEnd(300));
    await node.host.get("busy", true, node);
  }
}

test("one message that nobody takes for long keeps no space but its own, over crashes and restarts, and is delivered at last", async () => {
  let node = await start(3);
  await node.queue("slow", { "x-dedupe": 5 });
  await node.queue("busy");
  await publish(node, "slow", "the old one", "old");
  for (let round = 0; round < 4; round++) {
    await flow(node, round * 150, round * 150 + 150);
    const { bytes, segments, segmentBytes } = node.journal.stats;
    expect(bytes).toBeLessThanOrEqual(journalBytesMax);
    expect(segments).toBe(1);
    expect(segmentBytes).toBeLessThan(600);
    await node.journal.sync();
    node = await (round % 2 === 0 ? node.crash() : node.restart());
    await publish(node, "slow", "published again", "old"); // its id was moved along
  }
  expect(node.broker.status().queues.find(({ name }) => name === "slow")).toMatchObject({ ready: 1 });
  const consumer = new TestConsumer();
  node.host.consume("slow", consumer);
  await turns(60);
  expect(consumer.bodies).toEqual(["the old one"]);
  consumer.received[0]?.queue?.acknowledge(consumer.received[0].offset);
  await flow(node, 1000, 1200);
  await node.journal.sync();
  node = await node.crash();
  expect(node.broker.status().queues.find(({ name }) => name === "slow")).toMatchObject({ ready: 0 });
  await publish(node, "slow", "still known", "old");
  expect(node.broker.status().queues.find(({ name }) => name === "slow")).toMatchObject({ ready: 0 });
  await node.stop();
});

test("a backlog many times as large as the journal comes in order, half of it after a crash, and leaves nothing behind", async () => {
  let node = await start(4);
  await node.queue("q");
  const count = 600;
  for (let n = 0; n < count; n++) await publish(node, "q", `${n}`.padEnd(300));
  expect(node.journal.stats.bytes).toBeLessThanOrEqual(journalBytesMax);
  expect(node.journal.stats.segmentBytes).toBeGreaterThan(count * 300 - journalBytesMax);
  expect(node.journal.moves).toBeGreaterThan(count / 2);
  const bodies: number[] = [];
  for (let n = 0; n < count; n++) {
    if (n === count / 2) {
      await node.journal.sync();
      node = await node.crash();
    }
    bodies.push(Number((await node.host.get("q", true, node))?.delivery.content.toString()));
  }
  expect(bodies).toEqual(Array.from({ length: count }, (_, n) => n));
  for (let waited = 0; waited < 500 && node.journal.stats.segments > 0; waited++) await turns(5);
  expect(node.journal.stats).toMatchObject({ segments: 0, segmentBytes: 0 });
  expect(node.journal.pinned.size).toBe(0);
  await node.stop();
});

test("a queue that is deleted or purged takes what was moved for it along", async () => {
  let node = await start(5);
  for (const name of ["gone", "emptied", "kept"]) await node.queue(name);
  for (let n = 0; n < 150; n++) for (const name of ["gone", "emptied", "kept"]) await publish(node, name, `${n}`.padEnd(200));
  expect(node.journal.stats.segments).toBeGreaterThan(0);
  await node.host.deleteQueue("gone", { ifUnused: false, ifEmpty: false }, node);
  expect(await node.host.purgeQueue("emptied", node)).toBe(150);
  node = await node.crash();
  expect(node.broker.status().queues.map(({ name, ready }) => [name, ready])).toEqual([
    ["emptied", 0],
    ["kept", 150],
  ]);
  await node.queue("busy");
  const before = node.journal.stats.segmentBytes;
  await flow(node, 0, 300);
  for (let waited = 0; waited < 500 && node.journal.stats.segmentBytes > before / 2; waited++) await turns(5);
  expect(node.journal.stats.segmentBytes).toBeLessThan(before);
  for (let n = 0; n < 150; n++) {
    expect(Number((await node.host.get("kept", true, node))?.delivery.content.toString())).toBe(n);
  }
  await node.stop();
});
