/** What goes wrong in the middle of something: a disk that refuses, clients that do two things at once. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import { MillraceError } from "../../src/base/errors.ts";
import type { QueueHandle } from "../../src/broker/contract.ts";
import { queueSettings, type TopicSettings } from "../../src/broker/queueSettings.ts";
import { recoverTopicDedupe } from "../../src/broker/topicDedupe.ts";
import { TopicQueue } from "../../src/broker/topicQueue.ts";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { PartitionDescriptor } from "../../src/log/contract/partitionedLog.ts";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { TestConsumer } from "./consumer.ts";
import { confirm, message } from "./message.ts";
import { BrokerNode, turns } from "./node.ts";

/** One of these ends the process. */
const unhandled: unknown[] = [];
const note = (reason: unknown): void => void unhandled.push(reason);
beforeEach(() => {
  unhandled.length = 0;
  process.on("unhandledRejection", note);
});
afterEach(() => {
  process.off("unhandledRejection", note);
});

const diskOf = (node: BrokerNode): SimulatedFileSystem => node.fileSystem as SimulatedFileSystem;
const streamArguments = { "x-queue-type": "stream" };

async function publish(node: BrokerNode, key: string, count: number, body = (n: number): string => String(n)): Promise<void> {
  const { receipt, settled } = confirm();
  for (let n = 0; n < count; n++) node.host.publish(message({ key, body: body(n) }), receipt);
  receipt.seal();
  await settled;
}

test("the disk fails while a long queue is purged: who asked is told, and the node stays up", async () => {
  const node = await BrokerNode.start({ journalFileBytes: 1 << 22 });
  await node.queue("long");
  await publish(node, "long", 20_000);
  diskOf(node).failNext({ op: "sync", code: "EIO", path: "journal", times: 10 });
  await expect(node.host.purgeQueue("long", node)).rejects.toMatchObject({ code: "JOURNAL_FAILED" });
  await turns();
  expect(unhandled).toEqual([]);
});

test("a topic whose deletion failed and that was declared again keeps what it took since, over a restart", async () => {
  let node = await BrokerNode.start();
  await node.queue("events", streamArguments);
  diskOf(node).failNext({ op: "rename", code: "EIO", path: "topics" });
  await expect(node.host.deleteQueue("events", { ifUnused: false, ifEmpty: false }, node)).rejects.toThrow();
  await node.queue("events", streamArguments);
  await publish(node, "events", 10);
  node = await node.restart();
  expect(node.broker.status().topics).toMatchObject([{ name: "events", partitions: [{ endOffset: 10 }] }]);
  await node.stop();
});

test("a client that gets what another's read-ahead is about to bring leaves nothing in memory and delays nobody", async () => {
  const node = await BrokerNode.start({ limits: { queueCacheBytesMax: 0, queueCacheBytesMaxTotal: 0 }, journalFileBytes: 1 << 16 });
  await node.queue("shared");
  await publish(node, "shared", 400, (n) => String(n).padEnd(1000, "."));
  let reads: (() => void)[] = [];
  node.journal.beforeRead = () => new Promise((resume) => void reads.push(resume));
  const consumer = new TestConsumer({ noAck: true });
  node.host.consume("shared", consumer);
  await turns();
  // while the disk is slow, somebody gets the first two hundred, and their files become free
  const gets = Array.from({ length: 200 }, () => node.host.get("shared", true, node));
  node.journal.beforeRead = async () => undefined;
  for (const resume of reads.splice(0)) resume();
  reads = [];
  await Promise.all(gets);
  for (let n = 0; n < 300 && consumer.received.length < 200; n++) await turns(1);
  expect(consumer.received.length).toBe(200);
  expect(node.errors).toEqual([]);
  await node.stop();
});

test("one message for very many queues of one slow client does not go past the room that the client has", async () => {
  const node = await BrokerNode.start();
  await node.exchange("all", "fanout");
  const client = { room: 2 };
  const consumers: TestConsumer[] = [];
  const handles: QueueHandle[] = [];
  for (let n = 0; n < 10; n++) {
    await node.queue(`q${n}`);
    await node.host.bindQueue(`q${n}`, "all", "", {}, node);
    const consumer = new TestConsumer({ noAck: true, owner: client });
    consumer.ready = () => client.room > 0;
    const deliver = consumer.deliver.bind(consumer);
    consumer.deliver = (...args) => {
      client.room--;
      deliver(...args);
    };
    consumers.push(consumer);
    handles.push(node.host.consume(`q${n}`, consumer));
  }
  node.host.publish(message({ exchange: "all", body: "x".repeat(200_000) }), undefined);
  expect(client.room).toBe(0);
  client.room = 100;
  for (const handle of handles) handle.wake();
  await turns();
  expect(consumers.map(({ bodies }) => bodies)).toEqual(consumers.map(() => ["x".repeat(200_000)]));
  await node.stop();
});

test("a topic's window by a long time is read back only as far as it may remember", async () => {
  const node = await BrokerNode.start();
  await node.queue("events", { ...streamArguments, "x-dedupe": "30 d" });
  const count = 40_000;
  const { receipt, settled } = confirm();
  for (let n = 0; n < count; n++) node.host.publish(message({ key: "events", id: `id${n}` }), receipt);
  receipt.seal();
  await settled;
  let lowest = count;
  const log = {
    openReader: async (descriptor: PartitionDescriptor) => {
      const reader = await node.log.openReader(descriptor);
      const read = reader.read.bind(reader);
      reader.read = (offset, bytesMax) => {
        lowest = Math.min(lowest, offset);
        return read(offset, bytesMax);
      };
      return reader;
    },
  };
  const options = { durable: true, exclusive: false, autoDelete: false, arguments: {} };
  const settings = queueSettings(
    { ...options, arguments: { ...streamArguments, "x-dedupe": "30 d" } },
    { dedupeIdsMax: 100, partitionsMax: 1 },
    "",
  ) as TopicSettings;
  const topic = new TopicQueue("events", options, settings, node.log.topic("events") as EmbeddedTopic, 100, systemClock);
  await recoverTopicDedupe(log, topic, Date.now(), 100);
  expect(topic.windows[0]?.positions()).toEqual(Array.from({ length: 100 }, (_, n) => count - 100 + n));
  expect(lowest).toBeGreaterThan(count / 2);
  await node.stop();
});

test("ids that have left a window by time keep no file of the journal, also where nothing more is published", async () => {
  const timers = new Set<{ readonly at: number; readonly fire: () => void }>();
  let now = 1_000_000;
  const clock: Clock = {
    ...systemClock,
    now: () => now,
    after: (delayMs, then) => {
      const timer = { at: now + delayMs, fire: then };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
  };
  let node = await BrokerNode.start({ clock });
  const args = { "x-dedupe": "10 min" };
  await node.queue("quiet", args);
  const take = (): Promise<unknown> => node.host.get("quiet", true, node);
  const { receipt, settled } = confirm();
  for (let n = 0; n < 3; n++) node.host.publish(message({ key: "quiet", id: `id${n}` }), receipt);
  receipt.seal();
  await settled;
  for (let n = 0; n < 3; n++) await take();
  const later = async (ms: number): Promise<void> => {
    now += ms;
    for (const timer of timers) {
      if (timer.at > now || !timers.delete(timer)) continue;
      timer.fire();
    }
    await turns();
  };
  await later(9 * 60_000);
  expect(node.journal.pinned.size).toBe(3);
  node = await node.restart();
  expect(node.journal.pinned.size).toBe(3);
  await later(2 * 60_000);
  expect(node.journal.pinned.size).toBe(0);
  await node.stop();
});

test("very many queues with a backlog and a consumer that stands still: what is read ahead for all of them is limited", async () => {
  const limits = { queueCacheBytesMax: 1, queueCacheBytesMaxTotal: 1, readAheadBytesMaxTotal: 1 << 20 };
  const node = await BrokerNode.start({ limits, journalFileBytes: 1 << 24 });
  let bytesRead = 0;
  const { read } = node.journal;
  node.journal.read = async (position) => {
    const found = await read.call(node.journal, position);
    bytesRead += found.content.length;
    return found;
  };
  const count = 40;
  const consumers: TestConsumer[] = [];
  const handles: QueueHandle[] = [];
  for (let n = 0; n < count; n++) {
    await node.queue(`q${n}`);
    await publish(node, `q${n}`, 20, (one) => String(one).padEnd(10_000, "."));
    const consumer = new TestConsumer({ noAck: true, room: 1 });
    consumers.push(consumer);
    consumer.deliver = ({ content }) => {
      consumer.received.push({ offset: 0, body: content.toString("utf8", 0, 2), redelivered: false, queue: handles[n] as QueueHandle });
      consumer.room--;
    };
    handles.push(node.host.consume(`q${n}`, consumer));
  }
  await turns(200);
  expect(consumers.every(({ received }) => received.length === 1)).toBe(true);
  expect(bytesRead).toBeLessThan(limits.readAheadBytesMaxTotal + count * 2 * 10_000); // without it 8 MB
  for (const consumer of consumers) consumer.room = Number.POSITIVE_INFINITY;
  for (const handle of handles) handle.wake();
  await turns(2000);
  const all = Array.from({ length: 20 }, (_, n) => String(n).padEnd(2, "."));
  expect(consumers.map(({ bodies }) => bodies)).toEqual(consumers.map(() => all));
  await node.stop();
});

test("a damaged message does not stand in the way of those who get the next ones", async () => {
  const node = await BrokerNode.start({ limits: { queueCacheBytesMax: 1 } });
  await node.queue("damaged");
  await publish(node, "damaged", 3, (n) => `message ${n}`);
  const { read } = node.journal;
  let first: number | undefined;
  node.journal.read = (position) => {
    first ??= position;
    if (position === first) return Promise.reject(new MillraceError("JOURNAL_CORRUPT", "damaged", { domain: "external" }));
    return read.call(node.journal, position);
  };
  await expect(node.host.get("damaged", true, node)).rejects.toMatchObject({ code: "JOURNAL_CORRUPT" });
  expect((await node.host.get("damaged", true, node))?.delivery.content.toString()).toBe("message 1");
  expect((await node.host.get("damaged", true, node))?.delivery.content.toString()).toBe("message 2");
  expect(await node.host.get("damaged", true, node)).toBeUndefined();
  expect(node.broker.status().queues[0]).toMatchObject({ ready: 0, unacknowledged: 0 });
  await node.stop();
});
