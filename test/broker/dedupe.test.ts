import { expect, test } from "vitest";
import type { Clock } from "../../src/base/clock.ts";
import { systemClock } from "../../src/base/clock.ts";
import type { Arguments, BrokerStatus } from "../../src/broker/contract.ts";
import { batchPositions, records } from "../../src/record/batch.ts";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { TestConsumer } from "./consumer.ts";
import { confirm, type MessageOptions, message } from "./message.ts";
import { BrokerNode, turns } from "./node.ts";

async function publish(node: BrokerNode, options: MessageOptions): Promise<void> {
  const { receipt, settled } = confirm();
  node.host.publish(message(options), receipt);
  receipt.seal();
  await settled;
}

async function bodies(node: BrokerNode, queue: string): Promise<string[]> {
  const consumer = new TestConsumer({ noAck: true });
  node.host.consume(queue, consumer);
  await turns(40);
  await node.host.cancel(queue, consumer);
  return consumer.bodies;
}

async function topicValues(node: BrokerNode, topic: string): Promise<string[]> {
  const values: string[] = [];
  for (const descriptor of (await node.log.describeTopic(topic))?.partitions ?? []) {
    const reader = await node.log.openReader(descriptor);
    for (let at = reader.startOffset(); at < reader.highWatermark(); ) {
      for (const record of records(await reader.read(at, 1 << 20))) {
        values.push(String(record.value));
        at = record.offset + 1;
      }
    }
    await reader.close();
  }
  return values;
}

const queueStatus = (node: BrokerNode, name: string): BrokerStatus["queues"][number] | undefined =>
  node.broker.status().queues.find((queue) => queue.name === name);

test("a message that is published again is kept once, and confirmed; also after a crash and a restart", async () => {
  let node = await BrokerNode.start();
  await node.queue("orders", { "x-dedupe": 100 });
  await node.exchange("all", "fanout");
  await node.host.bindQueue("orders", "all", "", {}, node);
  for (const body of ["a", "b"]) await publish(node, { exchange: "all", body, id: body });
  await publish(node, { exchange: "all", body: "a again", id: "a" });
  expect(queueStatus(node, "orders")).toMatchObject({ ready: 2, published: 2, duplicates: 1 });
  expect(await bodies(node, "orders")).toEqual(["a", "b"]);
  await node.journal.sync();

  for (const again of ["crash", "restart", "crash"] as const) {
    node = await node[again]();
    await publish(node, { exchange: "all", body: "a, acknowledged long ago", id: "a" });
    await publish(node, { exchange: "all", body: `new after ${again}`, id: `${again}${Math.random()}` });
    expect(await bodies(node, "orders")).toEqual([`new after ${again}`]);
    await node.journal.sync();
  }
  await node.stop();
});

test.each<[string, Arguments]>([
  ["queue", {}],
  ["topic", { "x-queue-type": "stream" }],
])("a duplicate in a %s is confirmed together with its original, not before", async (_, args) => {
  const node = await BrokerNode.start();
  await node.queue("orders", { "x-dedupe": 10, ...args });
  const [original, duplicate] = [confirm(), confirm()];
  node.host.publish(message({ key: "orders", id: "1" }), original.receipt);
  original.receipt.seal();
  node.host.publish(message({ key: "orders", id: "1" }), duplicate.receipt);
  duplicate.receipt.seal();
  expect([original.isSettled(), duplicate.isSettled()]).toEqual([false, false]);
  await Promise.all([original.settled, duplicate.settled]);
  const later = confirm();
  node.host.publish(message({ key: "orders", id: "1" }), later.receipt);
  later.receipt.seal();
  expect(later.isSettled()).toBe(true);
  await node.stop();
});

test("each destination has its own window: publishing again fills only the gap", async () => {
  const node = await BrokerNode.start();
  await node.exchange("all", "fanout");
  await node.queue("a", { "x-dedupe": 10 });
  await node.host.bindQueue("a", "all", "", {}, node);
  await publish(node, { exchange: "all", body: "one", id: "1" });
  await node.queue("b", { "x-dedupe": 10 });
  await node.queue("plain");
  for (const name of ["b", "plain"]) await node.host.bindQueue(name, "all", "", {}, node);
  await publish(node, { exchange: "all", body: "one", id: "1" });
  expect(["a", "b", "plain"].map((name) => queueStatus(node, name)?.ready)).toEqual([1, 1, 1]);
  await node.stop();
});

test("a window by count forgets the oldest id; messages without an id are never duplicates", async () => {
  let node = await BrokerNode.start();
  await node.queue("q", { "x-dedupe": 2 });
  for (const id of ["1", "2", "3"]) await publish(node, { key: "q", body: id, id });
  for (const body of ["x", "x"]) await publish(node, { key: "q", body });
  node = await node.crash();
  await publish(node, { key: "q", body: "2 again", id: "2" });
  await publish(node, { key: "q", body: "1 again", id: "1" });
  expect(await bodies(node, "q")).toEqual(["1", "2", "3", "x", "x", "1 again"]);
  await node.stop();
});

test("a window by time forgets what is older", async () => {
  let now = 1_000_000;
  const clock: Clock = { ...systemClock, now: () => now };
  let node = await BrokerNode.start({ clock });
  await node.queue("q", { "x-dedupe": "10 min" });
  await node.queue("t", { "x-queue-type": "stream", "x-dedupe": "10 min" });
  const both = async (id: string): Promise<void> => {
    await publish(node, { key: "q", body: id, id });
    await publish(node, { key: "t", body: id, id });
  };
  await both("old");
  now += 9 * 60_000;
  await both("old");
  await both("young");
  node = await node.crash();
  now += 2 * 60_000;
  await both("old");
  await both("young");
  expect(await bodies(node, "q")).toEqual(["old", "young", "old"]);
  expect(await topicValues(node, "t")).toEqual(["old", "young", "old"]);
  await node.stop();
});

test("a window by time lets go of what it holds on the disk when nobody publishes any more", async () => {
  let now = 1_000_000;
  const waiting: (() => void)[] = [];
  const after: Clock["after"] = (delayMs, then) => {
    if (delayMs < 1000) return systemClock.after(delayMs, then);
    waiting.push(then);
    return { cancel: () => undefined };
  };
  const node = await BrokerNode.start({ clock: { ...systemClock, now: () => now, after } });
  await node.queue("q", { "x-dedupe": "10 min" });
  for (let n = 0; n < 10; n++) {
    await publish(node, { key: "q", body: "b", id: `${n}` });
    now += 60_000;
  }
  await bodies(node, "q");
  expect(node.journal.pinned.size).toBe(10);
  now += 5 * 60_000 + 1;
  for (const then of waiting.splice(0)) then();
  await turns();
  expect(node.journal.pinned.size).toBe(4);
  await node.stop();
});

const numbered = (n: number): MessageOptions => {
  const headers = n % 3 === 0 ? {} : { h: n % 5 };
  return { exchange: "x", key: `k${n % 7}`, body: String(n), id: String(n), headers };
};

test.each<[string, Arguments]>([
  ["by routing key", { "x-partitions": 3, "x-dedupe": 1000 }],
  ["by message-id", { "x-partitions": 3, "x-dedupe": 1000, "x-partition-key": "message-id" }],
  ["by a header that is not always there", { "x-partitions": 3, "x-dedupe": 1000, "x-partition-key": "header:h" }],
  ["without a key", { "x-partitions": 3, "x-dedupe": 1000, "x-partition-key": "none" }],
])("a topic partitioned %s keeps each message-id once, over crashes with unconfirmed messages", async (_, args) => {
  let node = await BrokerNode.start({ seed: 7 });
  await node.queue("t", { "x-queue-type": "stream", ...args });
  await node.exchange("x", "topic");
  await node.host.bindQueue("t", "x", "#", {}, node);
  for (let round = 0; round < 4; round++) {
    // the whole of it again each time, as a publisher does that lost its confirms
    const until = (round + 1) * 40;
    const all = Array.from({ length: until }, (_, n) => numbered(n));
    for (const one of all.slice(0, -10)) await publish(node, one);
    for (const one of all.slice(-10)) node.host.publish(message(one), undefined); // nobody waits for these
    await turns(round * 3);
    node = await node.crash();
  }
  for (let n = 0; n < 160; n++) await publish(node, numbered(n));
  const values = await topicValues(node, "t");
  expect(values.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 160 }, (_, n) => n));
  expect(node.broker.status().topics[0]?.duplicates).toBeGreaterThan(100);
  await node.stop();
});

test("a crash takes back nothing that a consumer has seen: a persistent message is delivered when it is durable, not before", async () => {
  let node = await BrokerNode.start();
  await node.queue("orders", { "x-dedupe": 100 });
  const fresh = (consumer: TestConsumer): string[] => consumer.received.filter(({ redelivered }) => !redelivered).map(({ body }) => body);
  for (let round = 0; round < 20; round++) {
    const before = new TestConsumer();
    node.host.consume("orders", before);
    const { receipt, settled } = confirm();
    settled.catch(() => undefined);
    const id = `message ${round}`;
    node.host.publish(message({ key: "orders", body: id, id }), receipt);
    receipt.seal();
    await turns(round); // on its way from the buffer to the disk, further each time
    node = await node.crash();

    await publish(node, { key: "orders", body: id, id });
    const after = new TestConsumer();
    node.host.consume("orders", after);
    await turns(20);
    expect([...fresh(before), ...fresh(after)].length).toBeLessThanOrEqual(1);
    expect(after.bodies).toEqual([id]);
    for (const { offset, queue } of after.received) queue.acknowledge(offset);
    await node.journal.sync();
    await node.host.cancel("orders", after);
  }
  await node.stop();
});

test("a stream with a damaged batch knows the ids of the others after a start; what was damaged is taken again", async () => {
  let node = await BrokerNode.start();
  await node.queue("t", { "x-queue-type": "stream", "x-dedupe": 10 });
  for (const id of ["1", "2", "3", "4"]) await publish(node, { key: "t", body: id, id });
  const fileSystem = node.fileSystem as SimulatedFileSystem;
  const file = fileSystem.files("/").find((name) => name.endsWith(".log") && name.includes("/t-0/")) as string;
  const [, second] = [...batchPositions(fileSystem.peek(file) as Buffer)] as [number, number];
  fileSystem.flip(file, second + 80, 1);
  node = await node.kill();
  for (const id of ["1", "3", "4"]) await publish(node, { key: "t", body: `${id} again`, id });
  expect(node.log.topic("t")?.endOffset(0)).toBe(4);
  await publish(node, { key: "t", body: "2 again", id: "2" });
  expect(node.log.topic("t")?.endOffset(0)).toBe(5);
  await node.stop();
});
