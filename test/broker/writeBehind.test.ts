import { expect, test } from "vitest";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { until } from "../support/until.ts";
import { TestConsumer } from "./consumer.ts";
import { confirm, message } from "./message.ts";
import { BrokerNode, turns } from "./node.ts";

const journalFileBytes = 1 << 13;
const journalBytesMax = journalFileBytes * 4;
const start = (seed: number): Promise<BrokerNode> =>
  BrokerNode.start({ seed, journalFileBytes, journalBytesMax, diskReserveBytes: 0, limits: { queueCacheBytesMax: 100 } });

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
  await until("no segment is left", () => node.journal.stats.segments === 0);
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
  await until("half of it is gone", () => node.journal.stats.segmentBytes <= before / 2);
  for (let n = 0; n < 150; n++) {
    expect(Number((await node.host.get("kept", true, node))?.delivery.content.toString())).toBe(n);
  }
  await node.stop();
});

const full = (node: BrokerNode, op: "write" | "sync" = "write"): void =>
  (node.fileSystem as SimulatedFileSystem).failNext({ op, path: "-making", code: "ENOSPC", times: Number.POSITIVE_INFINITY });

test("when the disk has no room for what should move, messages are refused, and taken again once some were consumed", async () => {
  const node = await start(6);
  await node.queue("q");
  full(node);
  let taken = 0;
  const refused = async (): Promise<unknown> => {
    for (; taken < 1000; taken++) {
      try {
        await publish(node, "q", `${taken}`.padEnd(300));
      } catch (error) {
        return error;
      }
    }
    return undefined;
  };
  expect(await refused()).toMatchObject({ code: "JOURNAL_FULL" });
  expect(node.journal.stats.bytes).toBeLessThanOrEqual(journalBytesMax);
  for (let n = 0; n < taken; n++) {
    expect(Number((await node.host.get("q", true, node))?.delivery.content.toString())).toBe(n);
  }
  await until("it takes messages again", () =>
    publish(node, "q", "after").then(
      () => true,
      () => false,
    ),
  );
  expect((await node.host.get("q", true, node))?.delivery.content.toString()).toBe("after");
  await node.stop();
});

async function flip(node: BrokerNode, file: string, needle: string): Promise<number> {
  const bytes = await node.fileSystem.readFile(file);
  const at = bytes.indexOf(needle);
  const handle = await node.fileSystem.open(file, "write");
  await handle.write(Buffer.of((bytes[at] as number) ^ 1), 0, 1, at);
  await handle.sync();
  await handle.close();
  return at;
}

const filesOf = async (node: BrokerNode, suffix: string): Promise<string[]> =>
  (await node.fileSystem.list("/data/journal"))
    .filter((name) => name.endsWith(suffix))
    .sort()
    .map((name) => `/data/journal/${name}`);

test("a flipped bit in a segment costs the message that it is in, said with file and position; the others come", async () => {
  const node = await start(7);
  await node.queue("q");
  for (let n = 0; n < 150; n++) await publish(node, "q", `number ${n}.`.padEnd(300));
  const [segment] = await filesOf(node, ".segment");
  await flip(node, segment as string, "number 3.");
  const consumer = new TestConsumer({ noAck: true });
  node.host.consume("q", consumer);
  for (let waited = 0; waited < 300 && consumer.received.length < 149; waited++) await turns(5);
  expect(consumer.bodies.map((body) => Number(/\d+/.exec(body)?.[0]))).toEqual(
    Array.from({ length: 150 }, (_, n) => n).filter((n) => n !== 3),
  );
  expect(node.errors).toEqual(["a message in the journal is damaged and cannot be delivered"]);
  await node.stop();
});

test("a flipped bit in a file of the journal is met when it is emptied: the rest is saved, the file is put aside", async () => {
  const node = await start(8);
  await node.queue("q");
  for (let n = 0; n < 10; n++) await publish(node, "q", `number ${n}.`.padEnd(300));
  const [first] = await filesOf(node, ".journal");
  await flip(node, first as string, "number 3.");
  for (let n = 10; n < 150; n++) await publish(node, "q", `number ${n}.`.padEnd(300));
  expect(await filesOf(node, ".damaged")).toEqual([`${first}.damaged`]);
  const consumer = new TestConsumer({ noAck: true });
  node.host.consume("q", consumer);
  for (let waited = 0; waited < 300 && consumer.received.length < 149; waited++) await turns(5);
  expect(consumer.bodies.map((body) => Number(/\d+/.exec(body)?.[0]))).toEqual(
    Array.from({ length: 150 }, (_, n) => n).filter((n) => n !== 3),
  );
  expect(new Set(node.errors)).toEqual(
    new Set([
      "an entry of the journal is damaged; what else is in its file is saved",
      "a message in the journal is damaged and cannot be delivered",
    ]),
  );
  await node.stop();
});

test("a flipped bit in a list of what is gone is said; then what was taken comes again, and nothing is lost", async () => {
  let node = await start(10);
  await node.queue("q");
  await node.queue("busy");
  for (let n = 0; n < 150; n++) await publish(node, "q", `${n}`.padEnd(300));
  for (let n = 0; n < 3; n++) await node.host.get("q", true, node);
  await flow(node, 0, 150);
  await node.journal.sync();
  const readyAfterCrash = async (): Promise<number | undefined> => {
    node = await node.crash();
    return node.broker.status().queues.find(({ name }) => name === "q")?.ready;
  };
  expect(await readyAfterCrash()).toBe(147);
  const [file] = await filesOf(node, ".dead");
  await flip(node, file as string, "MR");
  expect(await readyAfterCrash()).toBe(150);
  expect(node.errors).toEqual(["the list of what is gone from a segment is damaged: some of what was acknowledged comes again"]);
  await node.stop();
});

test("on a full disk what consumers have taken makes room, also while what others leave there cannot be moved", async () => {
  const node = await start(8);
  await node.queue("taken");
  await node.queue("left");
  for (let n = 0; n < 200; n++) await publish(node, "taken", `${n}`.padEnd(300));
  expect(node.journal.stats.segments).toBeGreaterThan(3);
  for (let n = 0; n < 80; n++) await publish(node, "left", `${n}`.padEnd(300)); // in all files of the journal
  const fileSystem = node.fileSystem as SimulatedFileSystem;
  fileSystem.limitDisk(fileSystem.usedBytes() + 1000);
  let kept = 0;
  const keepOne = (): Promise<boolean> =>
    publish(node, "left", `${kept}`.padEnd(300))
      .then(() => ++kept > 0)
      .catch(() => false);
  while (await keepOne()) expect(kept).toBeLessThan(1000);
  const consumer = new TestConsumer();
  node.host.consume("taken", consumer);
  let taken = 0;
  await until("every message is taken", () => {
    for (; taken < consumer.received.length; taken++)
      consumer.received[taken]?.queue?.acknowledge(consumer.received[taken]?.offset as number);
    return taken === 200;
  });
  const before = kept;
  await until("the queue takes messages again", keepOne);
  expect(kept).toBeGreaterThan(before);
  await node.stop();
});
