/** The disk refuses the queues' journal for a while, and then takes it again. */
import { expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import type { MillraceError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { until } from "../support/until.ts";
import { TestConsumer } from "./consumer.ts";
import { confirm, message } from "./message.ts";
import { BrokerNode, turns } from "./node.ts";

/** What waits for the disk or the next try does not wait long. */
const clock = { ...systemClock, after: (delayMs: number, then: () => void) => systemClock.after(Math.min(delayMs, 2), then) };

const diskOf = (node: BrokerNode): SimulatedFileSystem => node.fileSystem as SimulatedFileSystem;
const journalOf = (node: BrokerNode) => node.broker.status().journal;

/** Publishes to both queues; undefined: confirmed. */
async function publish(node: BrokerNode, id: string): Promise<MillraceError | undefined> {
  const { receipt, settled } = confirm();
  try {
    node.host.publish(message({ exchange: "both", body: id, id }), receipt);
  } catch (error) {
    return error as MillraceError;
  }
  receipt.seal();
  return settled.then(
    () => undefined,
    (error: MillraceError) => error,
  );
}

async function start(seed: number): Promise<BrokerNode> {
  const node = await BrokerNode.start({ seed, clock, journalFileBytes: 16 * 1024, limits: { queueCacheBytesMax: 4096 } });
  await node.exchange("both", "fanout");
  for (const [name, args] of [
    ["once", { "x-dedupe": 10_000 }],
    ["plain", {}],
  ] as const) {
    await node.queue(name, args);
    await node.host.bindQueue(name, "both", "", {}, node);
  }
  return node;
}

async function allOf(node: BrokerNode, queue: string): Promise<string[]> {
  const all: string[] = [];
  for (let next = await node.host.get(queue, true, node); next !== undefined; next = await node.host.get(queue, true, node)) {
    all.push(next.delivery.content.toString());
  }
  return all;
}

test.each([1, 2, 3, 4, 5, 6])(
  "a publisher with confirms is refused while the disk fails, publishes again, goes on without a restart; after kill -9 and a loss of power all is there once (seed %i)",
  async (seed) => {
    let node = await start(seed);
    const random = new Random(seed);
    const codes = new Set<string | undefined>();
    const confirmed: string[] = [];
    const consumer = new TestConsumer({ room: 40 });
    node.host.consume("once", consumer);
    let settledCount = 0;
    const acknowledgeSome = (): void => {
      for (let n = random.below(4); n > 0 && settledCount < consumer.received.length; n--) {
        const { offset, queue } = consumer.received[settledCount++] as (typeof consumer.received)[number];
        queue.acknowledge(offset);
        consumer.room++;
        queue.wake();
      }
    };
    for (let n = 0; n < 300; n++) {
      // several failures in a row, also of what is to take over
      if (n % 40 === 20)
        diskOf(node).failNext({ op: random.pick(["write", "sync"]), path: ".journal", code: "EIO", times: 1 + random.below(4) });
      if (n % 40 === 30) diskOf(node).failNext({ op: "sync", path: "next.spare", code: "EIO", times: 1 + random.below(3) });
      for (let failure = await publish(node, `m${n}`); failure !== undefined; failure = await publish(node, `m${n}`)) {
        codes.add(failure.code);
        expect(failure).toMatchObject({ code: "JOURNAL_FAILED", retryable: true });
        await turns(random.below(5));
        acknowledgeSome();
      }
      confirmed.push(`m${n}`);
      acknowledgeSome();
    }
    expect(codes).toEqual(new Set(["JOURNAL_FAILED"]));
    expect(journalOf(node)).toMatchObject({ refused: undefined });
    expect(journalOf(node).failures).toBeGreaterThan(3);
    await until("much of it is acknowledged", () => {
      acknowledgeSome();
      return settledCount > 100;
    });
    await turns(50);
    const acknowledged = consumer.bodies.slice(0, settledCount);
    await node.journal.sync();

    node = await node.kill();
    expect(node.errors).toEqual([]);
    // published again: confirmed, and kept once
    expect(await publish(node, "m299")).toBeUndefined();
    node = await node.crash();
    expect(node.errors).toEqual([]);
    expect([...acknowledged, ...(await allOf(node, "once"))]).toEqual(confirmed);
    const plain = await allOf(node, "plain");
    expect(plain.filter((body, n) => plain.indexOf(body) === n)).toEqual(confirmed);
    expect(await publish(node, "after")).toBeUndefined();
    await node.stop();
  },
);

test("while the journal is down a queue can be read and acknowledged; a purge is refused and takes nothing away", async () => {
  let node = await start(9);
  for (let n = 0; n < 20; n++) await publish(node, `m${n}`);
  diskOf(node).failNext({ op: "sync", path: ".journal", code: "EIO", times: Number.POSITIVE_INFINITY });
  expect(await publish(node, "in flight")).toMatchObject({ code: "JOURNAL_FAILED" });
  expect(journalOf(node)).toMatchObject({ refused: "JOURNAL_FAILED", failures: 1 });
  for (let n = 0; n < 5; n++) expect((await node.host.get("plain", true, node))?.delivery.content.toString()).toBe(`m${n}`);
  await expect(node.host.purgeQueue("plain", node)).rejects.toMatchObject({ code: "JOURNAL_FAILED" });
  expect(node.broker.status().queues.find(({ name }) => name === "plain")).toMatchObject({ ready: 16 });
  diskOf(node).heal();
  while (journalOf(node).refused !== undefined) await turns(1);
  await node.journal.sync();
  node = await node.crash();
  expect((await node.host.get("plain", false, node))?.delivery.content.toString()).toBe("m5");
  expect(await allOf(node, "once")).toEqual([...Array.from({ length: 20 }, (_, n) => `m${n}`), "in flight"]);
  await node.stop();
});

test("a consumer of a queue that deduplicates gets what was in flight when the disk failed, once it is on the disk", async () => {
  const node = await start(10);
  const consumer = new TestConsumer();
  node.host.consume("once", consumer);
  diskOf(node).failNext({ op: "sync", path: ".journal", code: "EIO", times: 3 });
  expect(await publish(node, "in flight")).toMatchObject({ code: "JOURNAL_FAILED" });
  expect(consumer.bodies).toEqual([]);
  while (consumer.received.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  expect(journalOf(node).refused).toBeUndefined();
  expect(consumer.bodies).toEqual(["in flight"]);
  expect(await publish(node, "in flight")).toBeUndefined();
  expect(consumer.bodies).toEqual(["in flight"]);
  await node.stop();
});

test("a purge whose write fails is done when the journal goes on, and keeps no file", async () => {
  let node = await start(11);
  for (let n = 0; n < 20; n++) await publish(node, `m${n}`);
  diskOf(node).failNext({ op: "sync", path: ".journal", code: "EIO" });
  await expect(node.host.purgeQueue("plain", node)).rejects.toMatchObject({ code: "JOURNAL_FAILED" });
  while (journalOf(node).refused !== undefined) await turns(1);
  await turns(5);
  await node.host.purgeQueue("once", node);
  node = await node.crash();
  expect(node.broker.status().queues.map(({ ready }) => ready)).toEqual([0, 0]);
  await node.stop();
});
