/** A backlog in segments: what a purge reads, what damage costs, and segments of version 1. */
import { expect, test } from "vitest";
import { Random } from "../../src/base/random.ts";
import {
  decodeDead,
  decodeSegmentHeader,
  encodeSegmentHeader,
  indexBytes,
  itemBytes,
} from "../../src/log/journal/segments/segmentFormat.ts";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { until } from "../support/until.ts";
import { TestConsumer } from "./consumer.ts";
import { confirm, message } from "./message.ts";
import { BrokerNode, turns } from "./node.ts";
import { asVersion1 } from "./segmentVersion1.ts";

const journalFileBytes = 1 << 13;
const options = {
  journalFileBytes,
  journalBytesMax: journalFileBytes * 3,
  indexPageItems: 32,
  runs: { fetchedFirst: 4, fetchedMax: 16, stretchMin: 4 },
  limits: { queueCacheBytesMax: 100 },
};
const folder = "/data/journal";

async function publish(node: BrokerNode, exchange: string, key: string, body: string, id?: string): Promise<void> {
  const { receipt, settled } = confirm();
  node.host.publish(message({ exchange, key, body, ...(id === undefined ? {} : { id }) }), receipt);
  receipt.seal();
  await settled;
}

const queues = ["a", "b", "ids"] as const;

/** Three queues with a backlog in segments; what is in them is in `left`. */
async function backlog(seed: number): Promise<{ node: BrokerNode; left: Map<string, string[]> }> {
  const node = await BrokerNode.start({ ...options, seed });
  await node.queue("a");
  await node.queue("b");
  await node.queue("ids", { "x-dedupe": 20 });
  await node.exchange("all", "fanout");
  for (const queue of queues) await node.host.bindQueue(queue, "all", "", {}, node);
  const left = new Map<string, string[]>(queues.map((queue) => [queue, []]));
  for (let n = 0; n < 260; n++) {
    const body = `message ${n} `.padEnd(100, ".");
    const both = n % 5 === 0;
    const queue = queues[n % 3] as string;
    await publish(node, both ? "all" : "", both ? "" : queue, body, `id ${n}`);
    for (const one of both ? queues : [queue]) left.get(one)?.push(body);
  }
  return { node, left };
}

/** Of each queue some of the first messages, not in order. */
async function takeSome(node: BrokerNode, left: Map<string, string[]>): Promise<void> {
  for (const queue of queues) {
    const consumer = new TestConsumer({ room: 30 });
    node.host.consume(queue, consumer);
    for (let waited = 0; waited < 300 && consumer.received.length < 30; waited++) await turns(2);
    for (const [n, { offset, body, queue: handle }] of consumer.received.entries()) {
      if (n % 3 === 1) continue;
      handle.acknowledge(offset);
      left.set(
        queue,
        (left.get(queue) as string[]).filter((other) => other !== body),
      );
    }
    await node.host.cancel(queue, consumer);
  }
  await node.journal.sync();
}

async function consumeAll(node: BrokerNode, queue: string, count: number): Promise<string[]> {
  const consumer = new TestConsumer({ noAck: true });
  node.host.consume(queue, consumer);
  for (let waited = 0; waited < 400 && consumer.received.length < count; waited++) await turns(5);
  await turns(20);
  await node.host.cancel(queue, consumer);
  return consumer.bodies;
}

async function segmentsOf({ fileSystem }: Pick<BrokerNode, "fileSystem">, suffix = ".segment"): Promise<string[]> {
  const names = await fileSystem.list(folder);
  return names
    .filter((name) => name.endsWith(suffix))
    .sort()
    .map((name) => `${folder}/${name}`);
}

async function flip(node: BrokerNode, file: string, at: number, bit: number): Promise<void> {
  const bytes = await node.fileSystem.readFile(file);
  const handle = await node.fileSystem.open(file, "write");
  await handle.write(Buffer.of((bytes[at] as number) ^ (1 << bit)), 0, 1, at);
  await handle.sync();
  await handle.close();
}

for (const where of ["header", "index", "directory"] as const) {
  test(`a flipped bit in a segment's ${where}: it is made anew from the entries; nothing is lost, nothing acknowledged comes back`, async () => {
    let saidAtStart = 0;
    for (let seed = 1; seed <= 8; seed++) {
      const random = new Random(seed);
      let { node, left } = await backlog(seed);
      await takeSome(node, left);
      node = await node.crash();
      for (const file of await segmentsOf(node)) {
        const bytes = await node.fileSystem.readFile(file);
        const { indexAt, items } = decodeSegmentHeader(bytes, file);
        const directoryAt = indexAt + indexBytes(items, 2);
        const [from, to] = { header: [0, 32], index: [indexAt, directoryAt], directory: [directoryAt, bytes.length] }[where] as [
          number,
          number,
        ];
        await flip(node, file, from + random.below(to - from), random.below(8));
      }
      // the index is read where it is needed; header and directory at the start only
      if (where !== "index" || seed % 2 === 0) node = await node.crash();
      saidAtStart += node.errors.length;
      for (const queue of queues)
        expect(await consumeAll(node, queue, left.get(queue)?.length ?? 0), `seed ${seed}`).toEqual(left.get(queue));
      expect(node.errors.length, `seed ${seed}`).toBeGreaterThan(0);
      for (const error of node.errors) expect(error).toMatch(/made anew/);
      await node.stop();
    }
    if (where !== "index") expect(saidAtStart).toBeGreaterThan(0);
  });
}

test("a header that can't be right, though its checksum is, is made anew from the entries too", async () => {
  let { node, left } = await backlog(2);
  node = await node.crash();
  for (const file of await segmentsOf(node)) {
    const header = decodeSegmentHeader(await node.fileSystem.readFile(file), file);
    const handle = await node.fileSystem.open(file, "write");
    await handle.write(encodeSegmentHeader({ ...header, queuesOrCrc: header.items + 1 }), 0, 32, 0);
    await handle.sync();
    await handle.close();
  }
  node = await node.crash();
  expect(node.errors.length).toBeGreaterThan(0);
  for (const error of node.errors) expect(error).toMatch(/made anew/);
  for (const queue of queues) expect(await consumeAll(node, queue, left.get(queue)?.length ?? 0)).toEqual(left.get(queue));
  await node.stop();
});

test("a flipped bit in the header and one in an entry: that message is lost, the others come, some acknowledged ones again", async () => {
  let { node, left } = await backlog(3);
  await takeSome(node, left);
  node = await node.crash();
  const [file] = await segmentsOf(node);
  const lost = (left.get("a") as string[])[4] as string;
  const bytes = await node.fileSystem.readFile(file as string);
  await flip(node, file as string, bytes.indexOf(lost) + 20, 3);
  await flip(node, file as string, 2, 3);
  node = await node.crash();
  const got = await consumeAll(node, "a", 60);
  expect(got).not.toContain(lost);
  for (const body of left.get("a") as string[]) if (body !== lost) expect(got.filter((other) => other === body)).toHaveLength(1);
  expect(got).toEqual(got.toSorted((a, b) => Number(a.split(" ")[1]) - Number(b.split(" ")[1])));
  await node.stop();
});

test("a segment whose entries can't be walked either is refused with file and position, a newer one is not touched", async () => {
  const { node } = await backlog(4);
  const [file] = await segmentsOf(node);
  const fileSystem = (node.fileSystem as SimulatedFileSystem).crash();
  const original = await fileSystem.readFile(file as string);
  const { indexAt } = decodeSegmentHeader(original, file as string);
  const patch = async (at: number, bytes: Buffer): Promise<void> => {
    const handle = await fileSystem.open(file as string, "write");
    await handle.write(bytes, 0, bytes.length, at);
    await handle.sync();
    await handle.close();
  };
  await patch(0, Buffer.alloc(8));
  await patch(indexAt - 16, Buffer.alloc(16)); // the `end`
  await expect(node.startOn(fileSystem)).rejects.toMatchObject({ code: "JOURNAL_CORRUPT", where: `${file} at byte 0` });
  const newer = Buffer.from(original.subarray(0, 32));
  newer.writeUInt32LE(3, 8);
  newer.writeUInt32LE(0, 28);
  await patch(0, newer);
  await expect(node.startOn(fileSystem)).rejects.toMatchObject({ code: "JOURNAL_TOO_NEW", where: file });
});

test("a purge of a long backlog reads nothing of it, and leaves nothing behind, also after a crash", async () => {
  let { node, left } = await backlog(5);
  node = await node.crash();
  const fileSystem = node.fileSystem as SimulatedFileSystem;
  fileSystem.failNext({ op: "read", path: ".segment", code: "EIO", times: Number.POSITIVE_INFINITY });
  expect(await node.host.purgeQueue("a", node)).toBe(left.get("a")?.length);
  fileSystem.heal();
  node = await node.crash();
  expect(node.broker.status().queues.map(({ name, ready }) => [name, ready])).toEqual(
    queues.map((queue) => [queue, queue === "a" ? 0 : left.get(queue)?.length]),
  );
  expect(await consumeAll(node, "b", left.get("b")?.length ?? 0)).toEqual(left.get("b"));
  await node.stop();
});

test("a purge while places come back from a run: nothing is delivered any more, and nothing keeps its space", async () => {
  for (let seed = 1; seed <= 16; seed++) {
    const random = new Random(seed);
    let node = await BrokerNode.start({ ...options, seed });
    await node.queue("q");
    for (let n = 0; n < 150; n++) await publish(node, "", "q", `${n}`.padEnd(100));
    node = await node.crash();
    const consumer = new TestConsumer({ noAck: true });
    node.host.consume("q", consumer);
    await turns(random.below(14));
    const purged = node.host.purgeQueue("q", node);
    const delivered = consumer.received.length;
    expect(await purged).toBe(150 - delivered);
    await turns(30);
    expect(consumer.received.length).toBe(delivered);
    expect(node.journal.pinned.size, `seed ${seed}`).toBe(0);
    await node.stop();
  }
});

test("a purge beside unacknowledged messages: those are there after a crash, and no others", async () => {
  for (let seed = 6; seed < 10; seed++) {
    let { node, left } = await backlog(seed);
    if (seed % 2 === 0) node = await node.crash();
    const consumer = new TestConsumer({ room: 3 });
    node.host.consume("a", consumer);
    for (let waited = 0; waited < 300 && consumer.received.length < 3; waited++) await turns(2);
    expect(await node.host.purgeQueue("a", node)).toBe((left.get("a") as string[]).length - 3);
    node = await node.crash();
    expect(await consumeAll(node, "a", 3), `seed ${seed}`).toEqual(left.get("a")?.slice(0, 3));
    expect(await consumeAll(node, "ids", left.get("ids")?.length ?? 0)).toEqual(left.get("ids"));
    await node.stop();
  }
});

test("a purge beside unacknowledged messages, and the disk does not let their places be read: it is done when it does", async () => {
  let { node, left } = await backlog(6);
  node = await node.crash();
  const fileSystem = node.fileSystem as SimulatedFileSystem;
  const consumer = new TestConsumer({ room: 3 });
  node.host.consume("a", consumer);
  for (let waited = 0; waited < 300 && consumer.received.length < 3; waited++) await turns(2);
  await turns(20);
  const before = node.errors.length;
  fileSystem.failNext({ op: "read", path: ".segment", code: "EIO", times: 2 });
  expect(await node.host.purgeQueue("a", node)).toBe((left.get("a") as string[]).length - 3);
  fileSystem.heal();
  expect(node.errors.length).toBe(before);
  node = await node.crash();
  expect(await consumeAll(node, "a", 3)).toEqual(left.get("a")?.slice(0, 3));
  await node.stop();
});

test("segments of version 1 are read: what lives comes, ids are known, and rewritten they are of version 2", async () => {
  let { node, left } = await backlog(11);
  await takeSome(node, left);
  node = await node.crash();
  await node.queue("busy");
  for (let n = 0; n < 100; n++) {
    // the lists of what is gone get written
    await publish(node, "", "busy", "x".repeat(200));
    await node.host.get("busy", true, node);
  }
  await node.journal.sync();
  const crashed = (node.fileSystem as SimulatedFileSystem).crash();
  const lists = await segmentsOf({ fileSystem: crashed }, ".dead");
  expect(lists.length).toBeGreaterThan(0);
  const files = await segmentsOf({ fileSystem: crashed });
  for (const file of files) {
    const bytes = await crashed.readFile(file);
    const dead = lists.includes(`${file}.dead`) ? await crashed.readFile(`${file}.dead`) : undefined;
    const { items } = decodeSegmentHeader(bytes, file);
    const older = asVersion1(bytes, dead === undefined ? undefined : decodeDead(dead, items, file));
    expect(older.segment.length).toBeLessThan(bytes.length + items * itemBytes);
    for (const [name, content] of [[file, older.segment] as const, [`${file}.dead`, older.dead] as const]) {
      if (content === undefined) continue;
      await crashed.removeFile(name);
      const handle = await crashed.open(name, "create");
      await handle.write(content, 0, content.length, 0);
      await handle.sync();
      await handle.close();
    }
  }
  await crashed.syncDirectory(folder);
  node = await node.startOn(crashed);
  expect(node.errors).toEqual([]);
  await publish(node, "", "ids", "again", "id 257");
  for (const queue of ["a", "b"]) expect(await consumeAll(node, queue, left.get(queue)?.length ?? 0)).toEqual(left.get(queue));
  const versionOf = async (file: string): Promise<number[]> => {
    // one that is rewritten may go in this moment
    const bytes = await node.fileSystem.readFile(file).catch(() => undefined);
    return bytes === undefined ? [] : [decodeSegmentHeader(bytes, file).version];
  };
  const versions = async (): Promise<number[]> => (await Promise.all((await segmentsOf(node)).map(versionOf))).flat();
  await until("those of version 1 are rewritten", async () => !(await versions()).includes(1));
  expect(await versions()).toContain(2);
  await node.journal.sync();
  node = await node.crash();
  await publish(node, "", "ids", "again", "id 257");
  expect(await consumeAll(node, "ids", left.get("ids")?.length ?? 0)).toEqual(left.get("ids"));
  await node.stop();
});
