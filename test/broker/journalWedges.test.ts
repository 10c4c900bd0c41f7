/** One failure at the wrong moment must not keep a file of the journal, or the space of a segment, for good. */
import { expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { decodeSegmentHeader, indexBytes, parseSegmentFileName } from "../../src/log/journal/segments/segmentFormat.ts";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { until } from "../support/until.ts";
import { TestConsumer } from "./consumer.ts";
import { confirm, message } from "./message.ts";
import { BrokerNode, turns } from "./node.ts";

const journalFileBytes = 1 << 13;
/** Time for nobody to wait for. */
const impatient = { ...systemClock, after: (delayMs: number, then: () => void) => systemClock.after(Math.min(delayMs, 5), then) };

const start = (seed: number): Promise<BrokerNode> =>
  BrokerNode.start({
    seed,
    clock: impatient,
    journalFileBytes,
    journalBytesMax: journalFileBytes * 3,
    indexPageItems: 32,
    runs: { fetchedFirst: 4, fetchedMax: 16, stretchMin: 4 },
    limits: { queueCacheBytesMax: 100 },
  });

const diskOf = (node: BrokerNode): SimulatedFileSystem => node.fileSystem as SimulatedFileSystem;

async function publish(node: BrokerNode, key: string, body: string): Promise<void> {
  const { receipt, settled } = confirm();
  node.host.publish(message({ key, body }), receipt);
  receipt.seal();
  await settled;
}

async function filesOf(node: BrokerNode, suffix: string): Promise<string[]> {
  const names = await node.fileSystem.list("/data/journal");
  return names
    .filter((name) => name.endsWith(suffix))
    .sort()
    .map((name) => `/data/journal/${name}`);
}

async function flip(node: BrokerNode, file: string, at: number): Promise<void> {
  const bytes = await node.fileSystem.readFile(file);
  const handle = await node.fileSystem.open(file, "write");
  await handle.write(Buffer.of((bytes[at] as number) ^ 1), 0, 1, at);
  await handle.sync();
  await handle.close();
}

/** Several times what the journal has room for, published and taken. */
async function flow(node: BrokerNode): Promise<void> {
  await node.queue("busy");
  for (let n = 0; n < 150; n++) {
    await publish(node, "busy", `${n}`.padEnd(300));
    await node.host.get("busy", true, node);
  }
}

test("the disk does not let a damaged file be put aside: it is tried again, and publishing goes on", async () => {
  const node = await start(1);
  await node.queue("q");
  for (let n = 0; n < 10; n++) await publish(node, "q", `number ${n}.`.padEnd(300));
  const [first] = (await filesOf(node, ".journal")) as [string];
  await flip(node, first, (await node.fileSystem.readFile(first)).indexOf("number 3."));
  const refused = diskOf(node);
  const rename = refused.rename.bind(refused);
  let failures = 0;
  refused.rename = (from, to) => {
    if (!to.endsWith(".damaged") || failures++ > 0) return rename(from, to);
    return Promise.reject(Object.assign(new Error("EIO"), { code: "EIO" }));
  };
  for (let n = 10; n < 150; n++) await publish(node, "q", `number ${n}.`.padEnd(300));
  expect(failures).toBeGreaterThan(1);
  expect(await filesOf(node, ".damaged")).toEqual([`${first}.damaged`]);
  const consumer = new TestConsumer({ noAck: true });
  node.host.consume("q", consumer);
  await until("all came", () => consumer.received.length >= 149);
  expect(consumer.bodies.map((body) => Number(/\d+/.exec(body)?.[0]))).toEqual(
    Array.from({ length: 150 }, (_, n) => n).filter((n) => n !== 3),
  );
  await node.stop();
});

test("one read fails while a backlog with gaps is purged: the purge goes on by itself, and keeps no space", async () => {
  const node = await start(2);
  await node.queue("q");
  for (let n = 0; n < 30; n++) await publish(node, "q", `${n}`.padEnd(80));
  const consumer = new TestConsumer({ room: 20 });
  node.host.consume("q", consumer);
  await until("all came", () => consumer.received.length === 20);
  for (const { offset, queue } of consumer.received) if (offset % 2 === 0) queue.acknowledge(offset);
  for (const { offset, queue } of consumer.received) if (offset % 2 === 1) queue.requeue(offset);
  await node.host.cancel("q", consumer);
  for (let n = 30; n < 300; n++) await publish(node, "q", `${n}`.padEnd(80));
  const { stretches } = node.journal.met;
  expect(stretches).toBeGreaterThan(0);
  let failed = 0;
  const disk = diskOf(node);
  const open = disk.open.bind(disk);
  disk.open = (file, mode) => {
    if (!file.endsWith(".segment") || mode !== "read" || failed++ > 0) return open(file, mode);
    return Promise.reject(Object.assign(new Error("EIO"), { code: "EIO" }));
  };
  expect(await node.host.purgeQueue("q", node)).toBe(290);
  expect(failed).toBeGreaterThan(0);
  expect(node.journal.pinned.size).toBe(0);
  await flow(node);
  await until("no segment is left", async () => (await filesOf(node, ".segment")).length === 0);
  await node.stop();
});

test("a segment whose index and an entry are damaged stays as it is, and the others are rewritten", async () => {
  const node = await start(3);
  await node.queue("gone");
  await node.queue("left");
  for (let n = 0; n < 300; n++) await publish(node, n % 4 === 0 ? "left" : "gone", `number ${n}.`.padEnd(200));
  const [file, other] = (await filesOf(node, ".segment")) as [string, string];
  const bytes = await node.fileSystem.readFile(file);
  const { indexAt, items } = decodeSegmentHeader(bytes, file);
  await flip(node, file, indexAt + indexBytes(items, 2) - 10);
  await flip(node, file, bytes.indexOf("number 1."));
  await node.host.purgeQueue("gone", node);
  await until("the next one is rewritten", async () => !(await filesOf(node, ".segment")).includes(other));
  expect(await filesOf(node, ".segment")).toContain(file);
  expect(node.errors).toContain("an entry or the index of a segment is damaged; the segment stays as it is");
  await node.stop();
});

test("a segment is rewritten as soon as more than half of it is gone, though nothing else happens", async () => {
  const node = await start(4);
  await node.queue("q");
  let segments: string[] = [];
  for (let n = 0; segments.length < 3; n++) {
    await publish(node, "q", `${n}`.padEnd(200));
    segments = await filesOf(node, ".segment");
  }
  const [file] = segments as [string];
  const { items } = decodeSegmentHeader(await node.fileSystem.readFile(file), file);
  const half = Math.floor(items / 2);
  const consumer = new TestConsumer({ room: half + 1 });
  node.host.consume("q", consumer);
  await until("all came", () => consumer.received.length === half + 1);
  for (const { offset, queue } of consumer.received) {
    await turns(); // each by itself
    queue.acknowledge(offset);
  }
  await until("it is rewritten", async () =>
    (await filesOf(node, ".segment")).some((name) => parseSegmentFileName(name.split("/").at(-1) ?? "")?.generation === 1),
  );
  await node.stop();
});

test("a damaged message of a segment that a client gets is out of the way: the rest of it taken, the segment goes", async () => {
  const node = await start(5);
  await node.queue("q");
  for (let n = 0; n < 150; n++) await publish(node, "q", `number ${n}.`.padEnd(200));
  const [file] = (await filesOf(node, ".segment")) as [string];
  await flip(node, file, (await node.fileSystem.readFile(file)).indexOf("number 3."));
  const got: number[] = [];
  for (let n = 0; n < 150; n++) {
    const found = await node.host.get("q", true, node).catch((error: { code?: string }) => error.code);
    got.push(typeof found === "object" ? Number(/\d+/.exec(found.delivery.content.toString())?.[0]) : -1);
    if (got.at(-1) === -1) expect(found).toBe("JOURNAL_CORRUPT");
  }
  expect(got).toEqual(Array.from({ length: 150 }, (_, n) => (n === 3 ? -1 : n)));
  expect(node.journal.pinned.size).toBe(0);
  await until("no segment is left", async () => (await filesOf(node, ".segment")).length === 0);
  await node.stop();
});
