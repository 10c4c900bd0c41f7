import { mkdir, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { ByteBudget } from "../../src/base/byteBudget.ts";
import { systemClock, type Timer } from "../../src/base/clock.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { batchPositions, records } from "../../src/record/batch.ts";
import { baseOffsetAt, lastOffsetAt } from "../../src/record/batchHeader.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { changed, logOptions, MemoryCatalog, readFrom, receipt, record, smallDefaults, temporaryFolder, valuesOf } from "./support.ts";

const producer = { name: "p", epoch: 0 };
const code = (wanted: string): unknown => expect.objectContaining({ code: wanted });

async function openWithTopic(
  more: Partial<EmbeddedLogOptions> = {},
): Promise<{ log: EmbeddedLog; topic: EmbeddedTopic; options: EmbeddedLogOptions }> {
  const options = logOptions(more.directory ?? (await temporaryFolder()), more);
  const log = await openEmbeddedLog(options);
  await log.createTopic("t");
  return { log, topic: log.topic("t") as EmbeddedTopic, options };
}

async function readAll(log: EmbeddedLog, partition = 0): Promise<string[]> {
  const descriptor = log.topic("t")?.description.partitions[partition];
  if (descriptor === undefined) throw new Error("no such partition");
  const reader = await log.openReader(descriptor);
  try {
    return valuesOf(await readFrom(reader, reader.startOffset()));
  } finally {
    await reader.close();
  }
}

/** Each value in a batch of its own. */
async function appendOneByOne(log: EmbeddedLog, values: readonly string[], from = 0): Promise<void> {
  for (const [i, value] of values.entries()) await log.append(producer, "t", 0, from + i, [record(value)]);
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `value ${i} ${"x".repeat(i % 50)}`);

describe("a topic's partition", () => {
  test("gives offsets at once, and settles the receipt when they may be read", async () => {
    const { log, topic } = await openWithTopic();
    const turn = receipt();
    const offsets = numbers(100).map((value) => topic.append(0, record(value), turn.receipt));
    turn.receipt.seal();
    expect(offsets).toEqual(numbers(100).map((_, i) => i));
    expect(topic.endOffset(0)).toBe(100);
    expect(topic.highWatermark(0)).toBe(0);
    expect(await turn.settled).toBeUndefined();
    expect(topic.highWatermark(0)).toBe(100);
    expect(await readAll(log)).toEqual(numbers(100));
    await log.close();
  });

  test("writes and syncs what came in one turn, or during the sync before, as one", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 1 });
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data" });
    const before = fileSystem.syncs.file;
    const turns = numbers(50).map((value) => {
      const turn = receipt();
      topic.append(0, record(value), turn.receipt);
      turn.receipt.seal();
      return turn.settled;
    });
    await Promise.all(turns);
    expect(fileSystem.syncs.file - before).toBe(1);
    await log.close();
  });

  test("counts bytes in the budget until they are durable", async () => {
    const budget = new ByteBudget("in flight", 1000);
    const { log, topic } = await openWithTopic({ budget });
    const turn = receipt();
    topic.append(0, record("x".repeat(2000)), turn.receipt);
    turn.receipt.seal();
    expect(budget.over).toBe(true);
    await turn.settled;
    expect(budget.used).toBe(0);
    await log.close();
  });

  test("lets a duplicate wait for its original", async () => {
    const { log, topic } = await openWithTopic();
    topic.append(0, record("original"), undefined);
    const duplicate = receipt();
    topic.joinPending(0, duplicate.receipt);
    duplicate.receipt.seal();
    expect(topic.highWatermark(0)).toBe(0);
    await duplicate.settled;
    expect(topic.highWatermark(0)).toBe(1);
    const nothingPending = receipt();
    topic.joinPending(0, nothingPending.receipt);
    nothingPending.receipt.seal();
    await nothingPending.settled;
    await log.close();
  });

  test("cuts batches at a good size, and takes a record up to exactly the limit", async () => {
    const { log, topic } = await openWithTopic({ defaults: { ...smallDefaults, maxMessageBytes: 1000 } });
    for (let i = 0; i < 50; i++) topic.append(0, record("x".repeat(100)), undefined);
    expect(() => topic.append(0, record("x".repeat(1000)), undefined)).toThrow(expect.objectContaining({ code: "RECORD_TOO_LARGE" }));
    const exact = 1000 - 61 - 9; // header; length of 2 bytes, attributes, two deltas, no key, length of 2 bytes, no headers
    expect(() => topic.append(0, record("x".repeat(exact + 1)), undefined)).toThrow(/1001 bytes/);
    topic.append(0, record("x".repeat(exact)), undefined);
    await log.sync("t");
    const reader = await log.openReader(topic.description.partitions[0] as EmbeddedTopic["description"]["partitions"][0]);
    const bytes = await reader.read(0, 1 << 20);
    const positions = [...batchPositions(bytes), bytes.length];
    expect(Math.max(...positions.slice(1).map((end, i) => end - (positions[i] as number)))).toBe(1000);
    expect(positions.length).toBeLessThan(20);
    await reader.close();
    await log.close();
  });

  test("lies on the disk as Kafka would have it", async () => {
    const { log, options } = await openWithTopic({ defaults: { ...smallDefaults, segmentBytes: 20_000 } });
    await appendOneByOne(log, numbers(400));
    await log.close();
    const folder = path.join(options.directory, "t-0");
    const files = (await readdir(folder)).toSorted();
    const bases = files.filter((name) => name.endsWith(".log")).map((name) => Number(name.slice(0, 20)));
    expect(files).toContain("00000000000000000000.log");
    expect(bases.length).toBeGreaterThan(2);
    for (const base of bases) {
      const name = String(base).padStart(20, "0");
      const bytes = await readFile(path.join(folder, `${name}.log`));
      expect(bytes.length).toBeLessThanOrEqual(20_000);
      const begins = new Map([...batchPositions(bytes)].map((at) => [at, baseOffsetAt(bytes, at)]));
      const ends = new Map([...batchPositions(bytes)].map((at) => [at, lastOffsetAt(bytes, at)]));
      expect(begins.get(0)).toBe(base);
      const index = await readFile(path.join(folder, `${name}.index`));
      if (base !== bases.at(-1)) expect(index.length / 8).toBeGreaterThanOrEqual(3);
      for (let at = 0; at < index.length; at += 8) expect(ends.get(index.readInt32BE(at + 4))).toBe(base + index.readInt32BE(at));
    }
  });

  test("fails what was in flight when a write or sync fails, and goes on in a new file by itself", async () => {
    for (const op of ["write", "sync"] as const) {
      const fileSystem = new SimulatedFileSystem({ seed: 3, turnsMax: 40 });
      const { log, topic } = await openWithTopic({ fileSystem, directory: "/data", defaults: { ...smallDefaults, partitions: 2 } });
      const cuts: [number, number][] = [];
      topic.onCut((partition, offset) => cuts.push([partition, offset]));
      await log.append(producer, "t", 0, 0, [record("before")]);
      fileSystem.failNext({ op, code: "EIO", path: "t-0/00000000000000000000.log" });
      const [inFlight, next] = [receipt(), receipt()];
      topic.append(0, record("in flight"), inFlight.receipt);
      inFlight.receipt.seal();
      await new Promise((resolve) => setImmediate(resolve));
      topic.append(0, record("next"), next.receipt);
      next.receipt.seal();
      expect(await inFlight.settled).toEqual(code("LOG_FAILED"));
      expect(await next.settled).toEqual(code("LOG_FAILED"));
      expect(cuts).toEqual([[0, 1]]);
      expect(topic.endOffset(0)).toBe(1);
      expect((await fileSystem.list("/data/t-0")).toSorted()).toContain("00000000000000000001.log");
      await log.append(producer, "t", 0, 1, [record("after")]);
      await log.append(producer, "t", 1, 0, [record("elsewhere")]);
      expect(await readAll(log, 0)).toEqual(["before", "after"]);
      expect(await readAll(log, 1)).toEqual(["elsewhere"]);
      await log.close();
      expect((await verifyLog(fileSystem, "/data", () => undefined)).problems).toEqual([]);
    }
  });

  test("takes nothing while the disk fails, reads on, and takes again when it works", async () => {
    const timers: (() => void)[] = [];
    const clock = { ...systemClock, after: (_ms: number, then: () => void): Timer => (timers.push(then), { cancel: () => undefined }) };
    const fileSystem = new SimulatedFileSystem({ seed: 3 });
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data", clock });
    await log.append(producer, "t", 0, 0, [record("before")]);
    for (const op of ["sync", "truncate", "open"] as const)
      fileSystem.failNext({ op, code: "EIO", path: "t-0", times: Number.POSITIVE_INFINITY });
    const reader = await log.openReader(topic.description.partitions[0] as never);
    await expect(log.append(producer, "t", 0, 1, [record("lost")])).rejects.toEqual(code("LOG_FAILED"));
    expect(() => topic.append(0, record("later"), undefined)).toThrow(expect.objectContaining({ code: "LOG_FAILED", retryable: true }));
    await expect(log.sync("t")).rejects.toEqual(code("LOG_FAILED"));
    await expect(log.producerState("p", "t", 0)).rejects.toEqual(code("LOG_FAILED"));
    const duplicate = receipt();
    topic.joinPending(0, duplicate.receipt);
    duplicate.receipt.seal();
    expect(await duplicate.settled).toEqual(code("LOG_FAILED"));
    await expect(reader.read(0, 1000)).rejects.toEqual(code("LOG_READ_FAILED"));
    fileSystem.heal();
    expect(valuesOf([...records(await reader.read(0, 1000))])).toEqual(["before"]);
    timers.at(-1)?.();
    for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
    await log.append(producer, "t", 0, 1, [record("after")]);
    expect(await readAll(log)).toEqual(["before", "after"]);
    await reader.close();
    await log.close();
  });

  test("keeps a reserve on the disk: appends are refused before it is full, the rest goes on, and appends resume", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 3 });
    let now = 0;
    const timers: (() => void)[] = [];
    const clock = {
      now: () => 5000,
      monotonicMs: () => (now += 2000),
      after: (_ms: number, then: () => void): Timer => (timers.push(then), { cancel: () => undefined }),
    };
    const defaults = { ...smallDefaults, segmentBytes: 5000 };
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data", clock, defaults, diskReserveBytes: 10_000 });
    fileSystem.limitDisk(100_000);
    const kept: string[] = [];
    const refusals: Error[] = [];
    while (refusals.length === 0) {
      const value = `${kept.length} ${"x".repeat(900)}`;
      await log.append(producer, "t", 0, kept.length, [record(value)]).then(
        () => void kept.push(value),
        (error: Error) => void refusals.push(error),
      );
    }
    expect(refusals).toEqual([code("LOG_DISK_FULL")]);
    expect(await fileSystem.freeBytes()).toBeGreaterThanOrEqual(9000);
    expect(() => topic.append(0, record("x"), undefined)).toThrow(expect.objectContaining({ code: "LOG_DISK_FULL", retryable: true }));
    expect(await readAll(log)).toEqual(kept);
    timers.at(-1)?.();
    await expect(log.append(producer, "t", 0, kept.length, [record("still full")])).rejects.toEqual(code("LOG_DISK_FULL"));
    timers.at(-1)?.();
    await log.deleteRecords("t", 0, 50);
    await log.append(producer, "t", 0, kept.length, [record("room again")]);
    const reader = await log.openReader(topic.description.partitions[0] as never);
    expect(valuesOf(await readFrom(reader, 50))).toEqual([...kept.slice(50), "room again"]);
    await reader.close();
    await log.close();
  });
});

test("a reader gets nothing that is written and not yet durable", async () => {
  let gate = Promise.resolve();
  const syncs: string[] = [];
  const fileSystem = changed(nodeFileSystem, {
    open: async (name, mode) => {
      const file = await nodeFileSystem.open(name, mode);
      const sync = file.sync.bind(file);
      file.sync = async () => {
        syncs.push(name);
        await gate;
        await sync();
      };
      return file;
    },
  });
  const { log, topic } = await openWithTopic({ fileSystem });
  await appendOneByOne(log, ["durable"]);
  const reader = await log.openReader(topic.description.partitions[0] as never);
  const opens: (() => void)[] = [];
  gate = new Promise((resolve) => void opens.push(resolve));
  const before = syncs.length;
  const pending = log.append(producer, "t", 0, 1, [record("in the page cache")]);
  while (syncs.length === before) await new Promise((resolve) => setImmediate(resolve));
  expect(reader.highWatermark()).toBe(1);
  expect(valuesOf([...records(await reader.read(0, 1 << 20))])).toEqual(["durable"]);
  opens[0]?.();
  await pending;
  expect(valuesOf([...records(await reader.read(0, 1 << 20))])).toEqual(["durable", "in the page cache"]);
  await reader.close();
  await log.close();
});

describe("the sync policy", () => {
  test("interval confirms after the write, and syncs once when the time has come", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 1 });
    const timers: (() => void)[] = [];
    const after = (_delayMs: number, then: () => void): Timer => {
      timers.push(then);
      return { cancel: () => undefined };
    };
    const defaults = { ...smallDefaults, sync: { kind: "interval", ms: 50 } } as const;
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data", clock: { ...systemClock, after }, defaults });
    const before = fileSystem.syncs.file;
    await appendOneByOne(log, numbers(10));
    expect(topic.highWatermark(0)).toBe(10);
    expect(fileSystem.syncs.file).toBe(before);
    expect(timers).toHaveLength(2); // the other one is the maintenance's
    timers[1]?.();
    await log.sync("t");
    expect(fileSystem.syncs.file).toBe(before + 1);
    await log.close();
  });

  test("never syncs only when asked, and at the end", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 1 });
    const { log } = await openWithTopic({ fileSystem, directory: "/data", defaults: { ...smallDefaults, sync: { kind: "never" } } });
    const before = fileSystem.syncs.file;
    await appendOneByOne(log, numbers(10));
    expect(fileSystem.syncs.file).toBe(before);
    await log.sync("t");
    expect(fileSystem.syncs.file).toBe(before + 1);
    await appendOneByOne(log, ["last"], 10);
    await log.close();
    expect(fileSystem.syncs.file).toBe(before + 4); // with both indexes, for a start that reads nothing
  });
});

describe("after a restart", () => {
  test("a tail torn at any byte is cut, and the offsets go on after what is whole", async () => {
    const { log, options } = await openWithTopic();
    await appendOneByOne(log, ["one", "two", "three"]);
    const file = path.join(options.directory, "t-0", "00000000000000000000.log");
    const bytes = await readFile(file);
    const begins = [...batchPositions(bytes), bytes.length];
    await log.close();
    for (let length = 0; length < bytes.length; length += 1 + (length % 7)) {
      for (const name of await readdir(path.dirname(file))) if (name.endsWith(".snapshot")) await rm(path.join(path.dirname(file), name));
      await writeFile(
        file,
        length % 2 === 0 ? bytes.subarray(0, length) : Buffer.concat([bytes.subarray(0, length), Buffer.alloc(100, 0xff)]),
      );
      (options.catalog as MemoryCatalog).entries.delete("partition:t-0"); // nothing says up to where it was synced
      const again = await openEmbeddedLog(options);
      const whole = begins.filter((end) => end > 0 && end <= length).length;
      expect(await readAll(again)).toEqual(["one", "two", "three"].slice(0, whole));
      expect((await stat(file)).size).toBe(begins[whole]);
      await again.append({ name: "after", epoch: 0 }, "t", 0, 0, [record("after")]);
      expect(await readAll(again)).toEqual([...["one", "two", "three"].slice(0, whole), "after"]);
      await again.close();
    }
  });

  test("topics, records and producers are as they were, over many segments", async () => {
    const { log, options } = await openWithTopic({ defaults: { ...smallDefaults, segmentBytes: 250 } });
    await appendOneByOne(log, numbers(50));
    await log.close();
    const again = await openEmbeddedLog(options);
    expect(again.topicNames()).toEqual(["t"]);
    expect(await readAll(again)).toEqual(numbers(50));
    expect(await again.producerState("p", "t", 0)).toEqual({ epoch: 0, nextSequence: 50 });
    for (let i = 45; i < 50; i++) await again.append(producer, "t", 0, i, [record("again")]); // duplicates by their sequence
    await again.append(producer, "t", 0, 50, [record("new")]);
    expect(await readAll(again)).toEqual([...numbers(50), "new"]);
    await again.close();
  });

  test("producers are known without their snapshots, and with a damaged one", async () => {
    const { log, options } = await openWithTopic({ defaults: { ...smallDefaults, segmentBytes: 1000 } });
    await appendOneByOne(log, numbers(50));
    await log.close();
    const folder = path.join(options.directory, "t-0");
    const snapshots = async (): Promise<string[]> => (await readdir(folder)).filter((name) => name.endsWith(".snapshot")).toSorted();
    expect((await snapshots()).length).toBe(3); // of the end, one before it, and of the last segment's beginning
    await writeFile(path.join(folder, (await snapshots()).at(-1) as string), '{"version":1,"crc32c":5,"producers":[]}');
    for (const remaining of [2, 0]) {
      if (remaining === 0) for (const name of await snapshots()) await rm(path.join(folder, name));
      const again = await openEmbeddedLog(options);
      expect(await again.producerState("p", "t", 0)).toEqual({ epoch: 0, nextSequence: 50 });
      await again.close();
    }
  });

  test("a missing, short or wrong index of an older segment is built again", async () => {
    const { log, options } = await openWithTopic({ defaults: { ...smallDefaults, segmentBytes: 40_000 } });
    await appendOneByOne(log, numbers(500));
    await log.close();
    const index = path.join(options.directory, "t-0", "00000000000000000000.index");
    const whole = await readFile(index);
    expect(whole.length).toBeGreaterThan(24);
    const spoil = [
      () => rm(index),
      () => truncate(index, 8),
      () => truncate(index, 13),
      () => truncate(index, 0),
      () => writeFile(index, Buffer.alloc(64)),
      () => writeFile(index, Buffer.from(whole.map((byte, i) => (i === whole.length - 5 ? byte ^ 1 : byte)))),
    ];
    for (const damage of spoil) {
      await damage();
      const again = await openEmbeddedLog(options);
      expect(await readAll(again)).toEqual(numbers(500)); // an index is a help, never the truth
      const reader = await again.openReader((await again.describeTopic("t"))?.partitions[0] as never);
      for (const offset of [1, 77, 200, 499]) expect(valuesOf(await readFrom(reader, offset))).toEqual(numbers(500).slice(offset));
      await reader.close();
      await again.maintain();
      expect(await readFile(index)).toEqual(whole);
      await again.close();
    }
  });

  test("bad bytes in an older segment are never cut, and named with file and position where they are read", async () => {
    const { log, options } = await openWithTopic({ defaults: { ...smallDefaults, segmentBytes: 1000 } });
    await appendOneByOne(log, numbers(50));
    await log.close();
    const file = path.join(options.directory, "t-0", "00000000000000000000.log");
    const bytes = await readFile(file);
    const second = [...batchPositions(bytes)][1] as number;
    bytes[second + 70] = (bytes[second + 70] as number) ^ 1;
    await writeFile(file, bytes);
    const again = await openEmbeddedLog(options);
    const reader = await again.openReader((await again.describeTopic("t"))?.partitions[0] as never);
    expect(valuesOf([...records(await reader.read(0, 61))])).toEqual([numbers(1)[0]]);
    await expect(reader.read(1, 1000)).rejects.toEqual(
      expect.objectContaining({ code: "LOG_CORRUPT", where: `${file} at byte ${second}` }),
    );
    expect((await readFrom(reader, 20)).length).toBe(30);
    expect((await stat(file)).size).toBe(bytes.length);
    await reader.close();
    await again.close();
  });

  test("an older segment that lost its end is not taken for a whole one", async () => {
    const { log, options } = await openWithTopic({ defaults: { ...smallDefaults, segmentBytes: 1000 } });
    await appendOneByOne(log, numbers(50));
    await log.close();
    const file = path.join(options.directory, "t-0", "00000000000000000000.log");
    const positions = [...batchPositions(await readFile(file))];
    await truncate(file, positions.at(-1));
    const again = await openEmbeddedLog(options);
    await expect(readAll(again)).rejects.toEqual(code("LOG_CORRUPT"));
    await again.close();
  });

  test("what a clean end left is not cut when it is damaged: the partition can be read up to there and takes nothing", async () => {
    const { log, options } = await openWithTopic();
    await appendOneByOne(log, ["one", "two", "three"]);
    await log.close();
    const file = path.join(options.directory, "t-0", "00000000000000000000.log");
    const { size } = await stat(file);
    await truncate(file, size - 1);
    const again = await openEmbeddedLog(options);
    const reader = await again.openReader((await again.describeTopic("t"))?.partitions[0] as never);
    expect(valuesOf([...records(await reader.read(0, 1000))])).toEqual(["one", "two"]);
    await expect(reader.read(2, 1000)).rejects.toEqual(code("LOG_CORRUPT"));
    await reader.close();
    await expect(again.append(producer, "t", 0, 3, [record("four")])).rejects.toEqual(code("LOG_CORRUPT"));
    await again.close();
    expect((await stat(file)).size).toBe(size - 1);
  });

  test("a log that is closed takes nothing", async () => {
    const { log, topic } = await openWithTopic();
    topic.append(0, record("before"), undefined);
    const closing = log.close();
    expect(() => topic.append(0, record("after"), undefined)).toThrow(expect.objectContaining({ code: "LOG_CLOSED" }));
    await closing;
    await expect(log.createTopic("u")).rejects.toEqual(code("LOG_CLOSED"));
    expect(await readAll(log)).toEqual(["before"]);
  });
});

describe("topics", () => {
  const names = [
    "t",
    "T",
    "..",
    ".",
    "../../etc",
    "a/b",
    "a-1",
    "a",
    "ключ",
    "x".repeat(249),
    "x".repeat(255),
    "😀".repeat(63),
    "con\0trol",
    "~x",
  ];

  test("may have any name, keep apart, and never leave the directory", async () => {
    const outer = await temporaryFolder();
    const options = logOptions(path.join(outer, "inner"));
    let log = await openEmbeddedLog(options);
    for (const name of names) {
      await log.createTopic(name, { partitions: 2 });
      await log.append(producer, name, 1, 0, [record(name)]);
    }
    await log.close();
    expect(await readdir(outer)).toEqual(["inner"]);
    const folders = await readdir(options.directory);
    expect(new Set(folders.map((folder) => folder.toLowerCase())).size).toBe(names.length * 2);
    expect(folders).toContain("t-0");
    expect(folders).toContain("a-1-1");
    log = await openEmbeddedLog(options);
    for (const name of names) {
      const reader = await log.openReader((await log.describeTopic(name))?.partitions[1] as never);
      expect(valuesOf(await readFrom(reader, 0))).toEqual([name]);
      await reader.close();
    }
    await log.close();
  });

  test("with impossible names or numbers are refused", async () => {
    const { log } = await openWithTopic();
    for (const name of ["", "x".repeat(256), "😀".repeat(64)])
      await expect(log.createTopic(name)).rejects.toEqual(code("TOPIC_NAME_INVALID"));
    for (const config of [
      { partitions: 0 },
      { partitions: 1.5 },
      { partitions: 1e6 },
      { segmentBytes: 2 ** 31 },
      { sync: { kind: "interval", ms: 0 } },
    ] as const) {
      await expect(log.createTopic("new", config)).rejects.toEqual(code("TOPIC_CONFIG_INVALID"));
    }
    await log.close();
  });

  test("that are deleted are gone: records, folders, readers and receipts; the name is free again", async () => {
    const { log, topic, options } = await openWithTopic();
    await appendOneByOne(log, ["one"]);
    const reader = await log.openReader(topic.description.partitions[0] as never);
    const sleeping = reader.untilAbove(1, new AbortController().signal);
    const pending = receipt();
    topic.append(0, record("two"), pending.receipt);
    pending.receipt.seal();
    const synced = log.sync("t");
    const deleted = log.deleteTopic("t");
    await expect(synced).rejects.toEqual(code("TOPIC_DELETED"));
    await expect(sleeping).rejects.toEqual(code("TOPIC_DELETED"));
    expect(await pending.settled).toEqual(code("TOPIC_DELETED"));
    await deleted;
    await expect(reader.read(0, 1000)).rejects.toEqual(code("TOPIC_DELETED"));
    expect(() => topic.append(0, record("three"), undefined)).toThrow(expect.objectContaining({ code: "TOPIC_DELETED" }));
    expect(options.budget.used).toBe(0);
    expect(log.topicNames()).toEqual([]);
    expect(await readdir(options.directory)).toEqual([]);
    await expect(log.deleteTopic("t")).rejects.toEqual(code("UNKNOWN_TOPIC"));
    await log.createTopic("t");
    expect(await readAll(log)).toEqual([]);
    await log.close();
  });

  test("whose deletion was cut short are gone after the next start", async () => {
    const directory = await temporaryFolder();
    const catalog = new MemoryCatalog();
    const options = logOptions(directory, { catalog });
    const log = await openEmbeddedLog({
      ...options,
      fileSystem: changed(nodeFileSystem, { rename: () => Promise.reject(new Error("the power is gone")) }),
    });
    await log.createTopic("t");
    await expect(log.deleteTopic("t")).rejects.toThrow("the power is gone");
    expect(await readdir(directory)).toEqual(["t-0"]);
    const again = await openEmbeddedLog(options);
    expect(again.topicNames()).toEqual([]);
    expect(await readdir(directory)).toEqual([]);
    await again.close();
  });

  test("whose deletion failed are finished with when the name is used again", async () => {
    const directory = await temporaryFolder();
    let failing = true;
    const rename = (from: string, to: string): Promise<void> =>
      failing ? Promise.reject(new Error("the disk is busy")) : nodeFileSystem.rename(from, to);
    const options = logOptions(directory, { fileSystem: changed(nodeFileSystem, { rename }) });
    const log = await openEmbeddedLog(options);
    await log.createTopic("t", { partitions: 2 });
    await appendOneByOne(log, ["old"]);
    await expect(log.deleteTopic("t")).rejects.toThrow("the disk is busy");
    failing = false;
    await log.createTopic("t");
    await appendOneByOne(log, ["new"]);
    expect(await readdir(directory)).toEqual(["t-0"]);
    await log.close();
    const again = await openEmbeddedLog(options);
    expect(await readAll(again)).toEqual(["new"]);
    await again.close();
  });

  test("never take over a folder with somebody's data in it", async () => {
    const directory = await temporaryFolder();
    const log = await openEmbeddedLog(logOptions(directory));
    await mkdir(path.join(directory, "mine-0"));
    await writeFile(path.join(directory, "mine-0", "00000000000000000000.log"), "precious");
    await expect(log.createTopic("mine")).rejects.toEqual(code("TOPIC_FOLDER_IN_USE"));
    expect(await readFile(path.join(directory, "mine-0", "00000000000000000000.log"), "utf8")).toBe("precious");
    await log.close();
  });
});
