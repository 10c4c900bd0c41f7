import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import type { FileSystem } from "../../src/base/fileSystem.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { Isolation, PartitionReader, TopicConfig } from "../../src/log/contract/partitionedLog.ts";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { dumpLog } from "../../src/log/tools/dumpLog.ts";
import { repairLog } from "../../src/log/tools/repairLog.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { encodeMarker } from "../../src/record/controlBatch.ts";
import { changed } from "../support/changed.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { logOptions, record, temporaryFolder } from "./support.ts";
import { batchesFrom, end, producerBatch, recordsFrom } from "./transactionSupport.ts";

/** Below the time limit of a test. */
const patient = { timeout: 100_000, interval: 5 };

const code = (wanted: string): unknown => expect.objectContaining({ code: wanted });

/** Retries come at once, and no maintenance. */
const impatient = {
  ...systemClock,
  after: (ms: number, then: () => void) => (ms < 10_000 ? systemClock.after(1, then) : { cancel: () => undefined }),
};

interface Run {
  readonly log: EmbeddedLog;
  readonly topic: EmbeddedTopic;
  readonly options: EmbeddedLogOptions;
  /** Appends one batch of a producer. */
  readonly tx: (id: number, sequence: number, ...values: string[]) => Promise<number>;
  readonly plain: (id: number, sequence: number, ...values: string[]) => Promise<number>;
  readonly reader: (isolation: Isolation) => Promise<PartitionReader>;
}

async function open(options: EmbeddedLogOptions, config: Partial<TopicConfig> = {}): Promise<Run> {
  const log = await openEmbeddedLog(options);
  onTestFinished(() => log.close().catch(() => undefined)); // some were killed
  await log.createTopic("t", config);
  const topic = log.topic("t") as EmbeddedTopic;
  const append = async (id: number, sequence: number, values: readonly string[], transactional: boolean): Promise<number> =>
    (await topic.appendBatch(0, producerBatch(values, { id, epoch: 0, sequence }, transactional))).baseOffset;
  return {
    log,
    topic,
    options,
    tx: (id, sequence, ...values) => append(id, sequence, values, true),
    plain: (id, sequence, ...values) => append(id, sequence, values, false),
    reader: (isolation) => log.openReader(topic.description.partitions[0] as never, { isolation }),
  };
}

const openNew = async (config: Partial<TopicConfig> = {}, more: Partial<EmbeddedLogOptions> = {}): Promise<Run> =>
  open(logOptions(await temporaryFolder(), more), config);

const committed = async (run: Run, from = 0, bytesMax?: number): Promise<string[]> => {
  const reader = await run.reader("read_committed");
  const found = await recordsFrom(reader, from, bytesMax);
  await reader.close();
  return found.map(([, value]) => value);
};

describe("a transaction", () => {
  test("is seen by nobody who reads committed records before it is committed, and whole after that", async () => {
    const run = await openNew();
    await run.plain(9, 0, "before");
    expect(await run.tx(1, 0, "a", "b")).toBe(1);
    await run.plain(9, 1, "other's");
    await run.tx(1, 2, "c");
    expect(run.topic.lastStableOffset(0)).toBe(1);
    expect(run.topic.highWatermark(0)).toBe(5);
    expect(await run.topic.openTransactions(0)).toEqual([{ producerId: 1n, epoch: 0, firstOffset: 1 }]);
    expect(await committed(run)).toEqual(["before"]);
    const reader = await run.reader("read_committed");
    expect(reader.highWatermark()).toBe(1);
    expect(await reader.read(1, 1000)).toHaveLength(0);
    await expect(reader.read(2, 1000)).rejects.toEqual(code("OFFSET_OUT_OF_RANGE"));
    const woken = reader.untilAbove(1, new AbortController().signal).then(() => reader.highWatermark());
    expect(await end(run.topic, "commit", 1)).toBe(5);
    expect(await woken).toBe(6);
    expect(run.topic.lastStableOffset(0)).toBe(6);
    expect(await run.topic.openTransactions(0)).toEqual([]);
    expect(await committed(run)).toEqual(["before", "a", "b", "other's", "c"]);
    expect(await run.topic.abortedTransactions(0, 0, 6)).toEqual([]);
    await reader.close();
  });

  test("that was aborted comes as batches without records, its marker too; whoever reads everything has the bytes as they are kept", async () => {
    const run = await openNew();
    await run.tx(1, 0, "a", "b");
    await run.plain(9, 0, "other's");
    await run.tx(1, 2, "c");
    expect(await end(run.topic, "abort", 1)).toBe(4);
    await run.tx(1, 3, "again");
    await end(run.topic, "commit", 1);
    const reader = await run.reader("read_committed");
    expect(await batchesFrom(reader, 0)).toEqual(["0-1 empty", "2 p9.0: other's", "3 empty", "4 empty", "5 p1.0 tx: again", "6 empty"]);
    expect(await batchesFrom(reader, 1, 1)).toHaveLength(6);
    const raw = ["0-1 p1.0 tx: a b", "2 p9.0: other's", "3 p1.0 tx: c", "4 p1.0 abort", "5 p1.0 tx: again", "6 p1.0 commit"];
    expect(await batchesFrom(await run.reader("read_uncommitted"), 0)).toEqual(raw);
    expect(await run.topic.abortedTransactions(0, 0, 7)).toEqual([{ producerId: 1n, firstOffset: 0, lastOffset: 4 }]);
    expect(await run.topic.abortedTransactions(0, 4, 7)).toHaveLength(1);
    expect(await run.topic.abortedTransactions(0, 5, 7)).toEqual([]);
    await reader.close();
  });

  test("of several producers at once holds the others back to its own beginning only", async () => {
    const run = await openNew();
    for (const id of [1, 2, 3]) await run.tx(id, 0, `first of ${id}`);
    await end(run.topic, "abort", 2);
    expect(run.topic.lastStableOffset(0)).toBe(0);
    await end(run.topic, "commit", 1);
    expect(run.topic.lastStableOffset(0)).toBe(2);
    expect(await committed(run)).toEqual(["first of 1"]);
    expect(await run.topic.openTransactions(0)).toEqual([{ producerId: 3n, epoch: 0, firstOffset: 2 }]);
    await end(run.topic, "commit", 3);
    expect(await committed(run)).toEqual(["first of 1", "first of 3"]);
  });

  test("is ended by its coordinator only: markers of clients and older epochs are refused", async () => {
    const run = await openNew();
    await expect(run.topic.appendBatch(0, encodeMarker({ outcome: "commit", coordinatorEpoch: 1 }, 1n, 0, 1))).rejects.toEqual(
      code("BATCH_CORRUPT"),
    );
    await run.tx(1, 0, "a");
    await expect(run.plain(1, 1, "outside")).rejects.toEqual(code("INVALID_TXN_STATE"));
    expect(await end(run.topic, "abort", 1, 3, 7)).toBe(1);
    await expect(run.tx(1, 1, "zombie")).rejects.toEqual(code("PRODUCER_FENCED"));
    await expect(end(run.topic, "commit", 1, 2, 7)).rejects.toEqual(code("PRODUCER_FENCED"));
    await expect(end(run.topic, "commit", 1, 3, 6)).rejects.toEqual(code("TRANSACTION_COORDINATOR_FENCED"));
    const next = producerBatch(["b"], { id: 1, epoch: 3, sequence: 0 }, true);
    expect((await run.topic.appendBatch(0, Buffer.from(next))).baseOffset).toBe(2);
    expect(await run.topic.appendBatch(0, next)).toMatchObject({ baseOffset: 2, duplicate: true });
    expect(await end(run.topic, "commit", 1, 3, 7)).toBe(3);
    await end(run.topic, "commit", 1, 3, 8); // once more
    expect(await committed(run)).toEqual(["b"]);
    await expect(run.topic.appendBatch(0, producerBatch(["x"], { id: 2 ** 62, epoch: 0, sequence: 0 }, false))).rejects.toEqual(
      code("PRODUCER_ID_RESERVED"),
    );
  });

  test("is not found by the time of its records once it was aborted", async () => {
    const run = await openNew();
    await run.tx(1, 0, "aborted");
    await end(run.topic, "abort", 1);
    await run.tx(1, 1, "kept");
    await end(run.topic, "commit", 1);
    await run.tx(1, 2, "open");
    const [all, some] = [await run.reader("read_uncommitted"), await run.reader("read_committed")];
    expect((await all.offsetForTimestamp(1000))?.offset).toBe(0);
    expect((await some.offsetForTimestamp(1000))?.offset).toBe(2);
    // only markers are so late, and what is open is not decided
    expect(await some.offsetForTimestamp(1001)).toBeUndefined();
    await all.close();
    await some.close();
  });

  test("spans segments: the index of the one with the marker says where it begins, and goes with it", async () => {
    const run = await openNew({ segmentBytes: 400 });
    let sequence = 0;
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 8; i++) await run.tx(1, sequence++, `${round} ${"x".repeat(60)}`);
      await end(run.topic, round % 2 === 0 ? "abort" : "commit", 1);
    }
    const names = async (ending: string): Promise<number> =>
      (await readdir(path.join(run.options.directory, "t-0"))).filter((name) => name.endsWith(ending)).length;
    expect(await names(".txnindex")).toBe(3);
    expect(await names(".log")).toBeGreaterThan(10);
    expect((await committed(run)).map((value) => value[0])).toEqual([..."1".repeat(8), ..."3".repeat(8), ..."5".repeat(8)]);
    for (const bytesMax of [1, 300, 1000]) expect(await committed(run, 20, bytesMax)).toHaveLength(16);
    expect(await run.topic.abortedTransactions(0, 10, 40)).toEqual([
      { producerId: 1n, firstOffset: 18, lastOffset: 26 },
      { producerId: 1n, firstOffset: 36, lastOffset: 44 },
    ]);
    await run.log.deleteRecords("t", 0, 30);
    expect(await names(".txnindex")).toBe(1);
    expect(await committed(run, 30)).toHaveLength(13);
  });

  test("of which the beginning was deleted holds nobody back below the first offset that is kept", async () => {
    const run = await openNew({ segmentBytes: 300 });
    for (let i = 0; i < 10; i++) await run.tx(1, i, "x".repeat(100));
    await run.log.deleteRecords("t", 0, 6);
    expect(run.topic.lastStableOffset(0)).toBe(6);
    expect(await committed(run, 6)).toEqual([]);
    await end(run.topic, "abort", 1);
    expect(await batchesFrom(await run.reader("read_committed"), 6)).toEqual(["6 empty", "7 empty", "8 empty", "9 empty", "10 empty"]);
  });
});

test("a reader of committed records is not held up by the end of a segment below its offset, at the moment in which it looks there", async () => {
  const fileSystem = new SimulatedFileSystem({ seed: 1 });
  let atLook: () => Promise<unknown> = async () => undefined;
  const stat = async (file: string): ReturnType<FileSystem["stat"]> => {
    const found = await fileSystem.stat(file);
    if (found !== undefined && file.endsWith(".txnindex")) await atLook();
    return found;
  };
  const run = await open(logOptions("/data", { fileSystem: changed(fileSystem, { stat }) }), { segmentBytes: 300 });
  for (let i = 0; i < 3; i++) await run.tx(1, i, "x".repeat(100));
  await end(run.topic, "abort", 1);
  const offset = await run.tx(1, 3, "a".repeat(200));
  await end(run.topic, "commit", 1);
  const reader = await run.reader("read_committed");
  let deleted = 0;
  atLook = async () => {
    atLook = async () => undefined;
    deleted = await run.log.deleteRecords("t", 0, offset);
  };
  expect(await recordsFrom(reader, offset)).toEqual([[offset, "a".repeat(200)]]);
  expect(deleted).toBe(offset);
});

test("a marker that a failed disk takes back is forgotten by whoever has read it", async () => {
  const fileSystem = new SimulatedFileSystem({ seed: 1 });
  const run = await open(logOptions("/data", { fileSystem, clock: impatient }), { sync: { kind: "never" } });
  await run.tx(1, 0, "aborted");
  await end(run.topic, "abort", 1);
  await run.tx(1, 1, "a");
  await run.log.sync("t");
  await end(run.topic, "abort", 1);
  const reader = await run.reader("read_committed");
  expect(await recordsFrom(reader, 0)).toEqual([]);
  fileSystem.failNext({ op: "write", code: "EIO", path: "/data/t-0/" });
  await expect(run.tx(1, 2, "not kept")).rejects.toEqual(code("LOG_FAILED"));
  await vi.waitFor(() => run.log.sync("t"), patient);
  expect(run.topic.lastStableOffset(0)).toBe(2);
  await run.tx(1, 2, "b");
  await end(run.topic, "commit", 1);
  expect(await recordsFrom(reader, 0)).toEqual([
    [2, "a"],
    [3, "b"],
  ]);
  await reader.close();
});

test("markers of today between records of long ago begin no segment", async () => {
  const run = await openNew();
  for (let i = 0; i < 5; i++) {
    await run.tx(1, i, "of 1970");
    await end(run.topic, "commit", 1);
  }
  const names = await readdir(path.join(run.options.directory, "t-0"));
  expect(names.filter((name) => name.endsWith(".log"))).toHaveLength(1);
});

describe("after a restart", () => {
  test("a transaction is still open, held back before anyone appends, and can be ended; fenced ones stay fenced", async () => {
    const run = await openNew();
    await run.plain(9, 0, "before");
    await run.tx(1, 0, "a");
    await run.tx(2, 0, "b");
    await end(run.topic, "abort", 2, 5, 4);
    await run.log.close();
    const again = await open(run.options);
    expect(again.topic.lastStableOffset(0)).toBe(1);
    expect(await committed(again)).toEqual(["before"]);
    expect(await again.topic.openTransactions(0)).toEqual([{ producerId: 1n, epoch: 0, firstOffset: 1 }]);
    await expect(again.plain(1, 1, "outside")).rejects.toEqual(code("INVALID_TXN_STATE"));
    await expect(again.tx(2, 1, "zombie")).rejects.toEqual(code("PRODUCER_FENCED"));
    await expect(end(again.topic, "abort", 2, 5, 3)).rejects.toEqual(code("TRANSACTION_COORDINATOR_FENCED"));
    await again.tx(1, 1, "c");
    await end(again.topic, "commit", 1);
    expect(await committed(again)).toEqual(["before", "a", "c"]);
  });

  test("a producer's snapshot of a release without transactions is read", async () => {
    const run = await openNew();
    await run.plain(9, 0, "a", "b");
    await run.log.close();
    const folder = path.join(run.options.directory, "t-0");
    const name = (await readdir(folder)).find((file) => file.endsWith(".snapshot"));
    const producers = '[{"id":"9","epoch":0,"timestamp":1000,"batches":[[0,7,0]]}]'; // not what the log says: so it was read
    const { crc32c } = await import("../../src/base/crc32c.ts");
    await writeFile(
      path.join(folder, name as string),
      `{"version":2,"crc32c":${crc32c(Buffer.from(producers))},"producers":${producers}}\n`,
    );
    const again = await open(run.options);
    await again.plain(9, 8, "c");
  });
});

describe("producers that appended nothing for a day", () => {
  const day = 24 * 3_600_000;
  const time = { now: 0 };
  const clock = { ...systemClock, now: () => time.now };
  const known = async (run: Run, id: number, sequence: number): Promise<boolean> => {
    try {
      await run.plain(id, sequence + 100, "a gap, unless it is new");
      return false;
    } catch {
      return true;
    }
  };

  test("are forgotten, also over a restart, but for those with an open transaction and those with a name", async () => {
    time.now = 0;
    const run = await openNew({}, { clock });
    await run.plain(1, 0, "old");
    await run.tx(2, 0, "open");
    await run.log.append({ name: "pipeline", epoch: 0 }, "t", 0, 0, [record("x")]);
    time.now = day - 1;
    await run.plain(3, 0, "young");
    await run.log.maintain();
    expect(await known(run, 1, 1)).toBe(true);
    time.now = day;
    await run.plain(4, 0, "keeps the partition awake");
    await run.log.maintain();
    expect(await known(run, 1, 1)).toBe(false);
    for (const id of [2, 3]) expect(await known(run, id, 1)).toBe(true);
    await run.log.close();
    time.now = 2 * day - 1;
    const again = await open({ ...run.options });
    expect(await known(again, 3, 1)).toBe(false);
    expect(await known(again, 2, 1)).toBe(true);
    expect(await again.log.producerState("pipeline", "t", 0)).toEqual({ epoch: 0, nextSequence: 1 });
  });

  test("stay forgotten after kill -9", async () => {
    time.now = 0;
    const fileSystem = new SimulatedFileSystem({ seed: 1 });
    const run = await open(logOptions("/data", { fileSystem, clock }));
    await run.plain(1, 0, "old");
    time.now = day;
    await run.plain(4, 0, "keeps the partition awake");
    await run.log.maintain();
    await vi.waitFor(async () => expect(await fileSystem.list("/data/t-0")).toContainEqual(expect.stringMatching(/snapshot$/)), patient);
    await run.plain(4, 1, "behind the snapshot");
    const again = await open({ ...run.options, fileSystem: fileSystem.kill() });
    expect(await known(again, 1, 1)).toBe(false);
    expect(await known(again, 4, 2)).toBe(true);
  });
});

describe("an index of aborted transactions that is spoiled", () => {
  async function written(): Promise<{ run: Run; files: string[]; expected: string[] }> {
    const run = await openNew({ segmentBytes: 1000 });
    let sequence = 0;
    for (let i = 0; i < 12; i++) {
      for (let k = 0; k < 3; k++) await run.tx(1 + (i % 2), sequence + k, `${i} ${"x".repeat(80)}`);
      await end(run.topic, i % 3 === 0 ? "commit" : "abort", 1 + (i % 2));
      if (i % 2 === 1) sequence += 3;
    }
    const expected = await committed(run);
    await run.log.close();
    const folder = path.join(run.options.directory, "t-0");
    const files = (await readdir(folder)).filter((name) => name.endsWith(".txnindex")).toSorted();
    return { run, files: files.map((name) => path.join(folder, name)), expected };
  }
  const problems = async ({ options }: Run): Promise<string[]> =>
    (await verifyLog(nodeFileSystem, options.directory, () => undefined)).problems.map(({ kind }) => kind);

  test("is found by verify, whichever bit it is, and made again by repair", async () => {
    const { run, files, expected } = await written();
    expect(await problems(run)).toEqual([]);
    const [file] = files as [string];
    const good = await readFile(file);
    for (let bit = 0; bit < good.length * 8; bit += 3) {
      const bad = Buffer.from(good);
      bad[bit >> 3] = (bad[bit >> 3] as number) ^ (1 << (bit & 7));
      await writeFile(file, bad);
      expect(await problems(run), `bit ${bit}`).toEqual(["index"]);
    }
    await repairLog({ ...run.options, progress: () => undefined, cutDamage: false });
    expect(await readFile(file)).toEqual(good);
    await rm(file);
    expect(await problems(run)).toEqual(["index"]);
    await repairLog({ ...run.options, progress: () => undefined, cutDamage: false });
    expect(await problems(run)).toEqual([]);
    expect(await committed(await open(run.options))).toEqual(expected);
  });

  test.each([
    ["cut", (bytes: Buffer) => bytes.subarray(0, bytes.length - 5)],
    ["of another version", (bytes: Buffer) => Buffer.concat([Buffer.from([0, 9]), bytes.subarray(2)])],
    ["garbage", (bytes: Buffer) => Buffer.alloc(bytes.length, 0xa5)],
  ])("%s is not believed by readers, and made again", async (_, spoil) => {
    const { run, files, expected } = await written();
    const whole = await Promise.all(files.map((file) => readFile(file)));
    for (const [i, file] of files.entries()) await writeFile(file, spoil(whole[i] as Buffer));
    const again = await open(run.options);
    expect(await committed(again)).toEqual(expected);
    await again.plain(9, 0, "opens the files");
    await again.log.maintain();
    expect(await Promise.all(files.map((file) => readFile(file)))).toEqual(whole);
  });
});

test("dump says which batches are transactional, and what the markers say", async () => {
  const run = await openNew();
  await run.tx(1, 0, "a");
  await end(run.topic, "abort", 1, 0, 3);
  await run.log.close();
  const lines: string[] = [];
  await dumpLog(
    nodeFileSystem,
    run.options.directory,
    () => "",
    (line) => lines.push(line) > 0,
  );
  expect(lines[1]).toContain(", producer 1 epoch 0 sequence 0, transactional");
  expect(lines.at(-1)).toContain(", abort marker of coordinator epoch 3");
});
