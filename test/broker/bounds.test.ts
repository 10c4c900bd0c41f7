import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { memoryInUse } from "../support/memoryInUse.ts";
import { TestConsumer } from "./consumer.ts";
import { confirm, message } from "./message.ts";
import { BrokerNode, turns } from "./node.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), "millrace-broker-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const body = (n: number): string => `${n}`.padEnd(500, ".");

test("a backlog that nobody takes costs disk, not memory, and then comes in order", async () => {
  const count = 100_000;
  const limits = { queueCacheBytesMax: 256 * 1024 };
  const node = await BrokerNode.start({ directory, limits, journalFileBytes: 1 << 23 });
  await node.queue("backlog");
  const consumer = new TestConsumer({ noAck: true, room: 0 });
  const handle = node.host.consume("backlog", consumer);
  const address = node.host.address("", "backlog");
  const publish = async (from: number, to: number): Promise<void> => {
    const { receipt, settled } = confirm();
    for (let n = from; n < to; n++) node.host.publish(message({ body: body(n) }, address), receipt);
    receipt.seal();
    await settled;
  };
  await publish(0, 1000); // what is allocated once is there now
  const before = await memoryInUse();
  for (let n = 1000; n < count; n += 1000) await publish(n, n + 1000);
  // 500 bytes of content each; 20 for where it is, and what the journal's buffers take
  expect(((await memoryInUse()) - before) / count).toBeLessThan(120);
  expect(node.broker.status().queues[0]).toMatchObject({ ready: count });

  const got = { next: 0 };
  consumer.deliver = ({ content }) => {
    if (content.toString() !== body(got.next)) throw new Error(`message ${got.next} is not the next one`);
    got.next++;
  };
  consumer.room = 1;
  handle.wake();
  while (got.next < count) await turns(1);
  expect(node.broker.status().queues[0]).toMatchObject({ ready: 0, delivered: count });
  await node.stop();
});

test("a consumer that never acknowledges holds where its messages are, not what is in them", async () => {
  const count = 20_000;
  const node = await BrokerNode.start({ directory, journalFileBytes: 1 << 23 });
  await node.queue("held");
  const offsets: number[] = [];
  const consumer = new TestConsumer();
  consumer.deliver = ({ offset }) => offsets.push(offset);
  const handle = node.host.consume("held", consumer);
  const address = node.host.address("", "held");
  const publish = async (): Promise<void> => {
    const { receipt, settled } = confirm();
    for (let n = 0; n < 1000; n++) node.host.publish(message({ body: "x".repeat(4000) }, address), receipt);
    receipt.seal();
    await settled;
  };
  await publish(); // what is allocated once is there now
  const before = await memoryInUse();
  while (offsets.length < count) await publish();
  expect(((await memoryInUse()) - before) / count).toBeLessThan(1000);
  for (const offset of offsets) handle.acknowledge(offset);
  expect(node.broker.status().queues[0]).toMatchObject({ unacknowledged: 0, acknowledged: count });
  await node.stop();
});

test("the cache of contents is limited, and given back: a queue that stays short never reads", async () => {
  const node = await BrokerNode.start({ limits: { queueCacheBytesMax: 1000, queueCacheBytesMaxTotal: 2500 } });
  await node.exchange("all", "fanout");
  const names = ["a", "b", "c", "d"];
  for (const name of names) {
    await node.queue(name);
    await node.host.bindQueue(name, "all", "", {}, node);
  }
  const round = async (messages: number): Promise<void> => {
    const bodies = Array.from({ length: messages }, (_, n) => String(n).padEnd(100, "."));
    for (const body of bodies) node.host.publish(message({ exchange: "all", body }), undefined);
    await node.host.purgeQueue("d", node);
    for (const name of ["a", "b", "c"]) {
      const consumer = new TestConsumer({ noAck: true });
      node.host.consume(name, consumer);
      while (consumer.bodies.length < bodies.length) await turns(1);
      expect(consumer.bodies).toEqual(bodies);
      await node.host.cancel(name, consumer);
    }
  };
  for (let n = 0; n < 20; n++) await round(6);
  expect(node.journal.reads).toBe(0);
  await round(30);
  expect(node.journal.reads).toBe(23 + 24 + 24); // 25 fit, shared by the four
  for (let n = 0; n < 20; n++) await round(6);
  expect(node.journal.reads).toBe(71);
  await node.stop();
});

test("an idle queue takes at most 4 KiB of memory: 10,000 that were declared at once, used, and started again", async () => {
  const count = 10_000;
  let node = await BrokerNode.start({ directory, journalFileBytes: 1 << 23 });
  const before = await memoryInUse();
  await Promise.all(Array.from({ length: count }, (_, n) => node.queue(`queue-${n}`)));
  for (let n = 0; n < count; n++) node.host.publish(message({ key: `queue-${n}`, body: "x" }), undefined);
  for (let n = 0; n < count; n++) await node.host.get(`queue-${n}`, true, node);
  await node.journal.sync();
  expect((await memoryInUse()) - before).toBeLessThan(count * 4096);
  node = await node.restart();
  expect((await memoryInUse()) - before).toBeLessThan(count * 4096);
  expect(node.broker.status().queues).toHaveLength(count);
  await node.stop();
});
