import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { crc32c } from "../../src/base/crc32c.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { PartitionReader, TopicConfig } from "../../src/log/contract/partitionedLog.ts";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { indexesFit } from "../../src/log/embedded/segment/indexCheck.ts";
import { baseOffsetsOf } from "../../src/log/embedded/segment/names.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { batchPositions, encodeBatch, endOffsetOf } from "../../src/record/batch.ts";
import { BatchBuilder } from "../../src/record/batchBuilder.ts";
import { BatchAttribute, BatchField, baseOffsetAt, CRC_COVERS_FROM, countAt } from "../../src/record/batchHeader.ts";
import { isControlAt } from "../../src/record/controlBatch.ts";
import type { StoredRecord } from "../../src/record/record.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { logOptions, MemoryCatalog, readFrom, record, temporaryFolder } from "./support.ts";

const code = (wanted: string): unknown => expect.objectContaining({ code: wanted });
const hour = 3_600_000;
const day = 24 * hour;

interface Run {
  readonly log: EmbeddedLog;
  readonly topic: EmbeddedTopic;
  readonly reader: PartitionReader;
  readonly options: EmbeddedLogOptions;
  readonly time: { now: number };
  /** key=value; key without "=" is a tombstone. One batch. */
  readonly put: (...pairs: string[]) => Promise<void>;
}

async function openRun(config: Partial<TopicConfig>, more: Partial<EmbeddedLogOptions> = {}): Promise<Run> {
  const time = { now: 1000 * day };
  const options = logOptions(more.directory ?? (await temporaryFolder()), { clock: { ...systemClock, now: () => time.now }, ...more });
  const log = await openEmbeddedLog(options);
  const compacted = { cleanupPolicy: "compact", segmentBytes: 500, minCleanableDirtyRatio: 0 } as const;
  const { partitions } = await log.createTopic("t", { ...compacted, ...config });
  const reader = await log.openReader(partitions[0] as never);
  let sequence = (await log.producerState("p", "t", 0))?.nextSequence ?? 0;
  const put = async (...pairs: string[]): Promise<void> => {
    const records = pairs.map((pair) => {
      const [key, value] = pair.split("=");
      const bytes = { key: Buffer.from(key as string), value: value === undefined ? null : Buffer.from(value) };
      return { ...record(""), ...bytes, timestamp: time.now };
    });
    await log.append({ name: "p", epoch: 0 }, "t", 0, sequence, records);
    sequence += records.length;
  };
  return { log, topic: log.topic("t") as EmbeddedTopic, reader, options, time, put };
}

/** Fills the segment that is written, so that what was put before can be compacted. */
const roll = (run: Run): Promise<void> => run.put(`filler=${"x".repeat(480)}`);
const text = ({ key, value }: StoredRecord): string => (value === null ? `${key}` : `${key}=${String(value).slice(0, 20)}`);
const folderOf = ({ options }: Run): string => path.join(options.directory, "t-0");

/** Without the fillers. */
async function contentOf(run: Run, from = 0): Promise<string[]> {
  const found = await readFrom(run.reader, from);
  return found.filter(({ key }) => String(key) !== "filler").map((one) => `${one.offset} ${text(one)}`);
}

/** A batch of a transaction, with one record. */
async function within(run: Run, producerId: bigint, baseSequence: number, key: string, value: string | null, epoch = 0): Promise<number> {
  const builder = new BatchBuilder();
  const bytes = { key: Buffer.from(key), value: value === null ? null : Buffer.from(value) };
  builder.append({ ...record(""), ...bytes, timestamp: run.time.now }, 0);
  builder.endBatch({ id: producerId, epoch, baseSequence }, BatchAttribute.transactional);
  return (await run.topic.appendBatch(0, Buffer.from(builder.bytes()))).baseOffset;
}

const end = (run: Run, producerId: bigint, outcome: "commit" | "abort", epoch = 0): Promise<number> =>
  run.topic.endTransaction(0, { producerId, epoch, coordinatorEpoch: 1, outcome });

async function batchesOf({ reader }: Run): Promise<{ readonly offset: number; readonly isMarker: boolean }[]> {
  const found: { offset: number; isMarker: boolean }[] = [];
  for (let next = 0; next < reader.highWatermark(); ) {
    const bytes = await reader.read(next, 1 << 16);
    for (const at of batchPositions(bytes)) found.push({ offset: baseOffsetAt(bytes, at), isMarker: isControlAt(bytes, at) });
    next = endOffsetOf(bytes) as number;
  }
  return found;
}

async function checkFiles(run: Run): Promise<void> {
  const names = await readdir(folderOf(run));
  expect(names.filter((name) => name.endsWith(".cleaned"))).toEqual([]);
  const bases = baseOffsetsOf(names);
  for (const base of bases.slice(0, -1)) expect([base, await indexesFit(nodeFileSystem, folderOf(run), base)]).toEqual([base, true]);
  expect((await verifyLog(nodeFileSystem, run.options.directory, () => undefined)).problems).toEqual([]);
}

describe("a compacted topic", () => {
  test("keeps the latest record of each key, at its offset and with its time, and everything of the segment that is written", async () => {
    const run = await openRun({});
    await run.put("a=1", "b=1", "c=1");
    run.time.now += hour;
    await run.put("a=2", "d=1");
    await roll(run);
    await run.put("b=2", "a=3", "a=4");
    await run.log.maintain();
    expect(await contentOf(run)).toEqual(["1 b=1", "2 c=1", "3 a=2", "4 d=1", "6 b=2", "7 a=3", "8 a=4"]);
    const found = await readFrom(run.reader, 0);
    expect(found.map(({ offset, timestamp }) => [offset, timestamp - 1000 * day])).toEqual(
      found.map(({ offset }) => [offset, offset < 3 ? 0 : hour]),
    );
    await checkFiles(run);
    await run.log.close();
  });

  test("answers a read at an offset that is gone with what comes next, and finds times among what is left", async () => {
    const run = await openRun({});
    for (let i = 0; i < 50; i++) {
      run.time.now += hour;
      await run.put(`${i % 5}=${i}`);
    }
    await roll(run);
    await run.log.maintain();
    const left = await readFrom(run.reader, 0);
    expect(left.length).toBeLessThan(12);
    for (let offset = 0; offset < 51; offset++) {
      const next = left.find((one) => one.offset >= offset)?.offset;
      expect([offset, (await readFrom(run.reader, offset))[0]?.offset]).toEqual([offset, next]);
      const timestamp = 1000 * day + offset * hour;
      const found = left.find((one) => one.timestamp >= timestamp);
      expect([offset, (await run.reader.offsetForTimestamp(timestamp))?.offset]).toEqual([offset, found?.offset]);
    }
    await checkFiles(run);
    await run.log.close();
  });

  test("is read on in the new files by a reader that has looked for a time since they came", async () => {
    const run = await openRun({});
    for (let n = 0; n < 40; n++) await run.put(`k${n % 4}=${n} ${"x".repeat(60)}`);
    await roll(run);
    const begun = await run.reader.read(0, 1); // it stands in a file that is replaced now
    expect(begun.length).toBeGreaterThan(0);
    await run.log.maintain();
    expect(await run.reader.offsetForTimestamp(run.time.now)).toMatchObject({ offset: 36 });
    const fresh = await run.log.openReader(run.topic.description.partitions[0] as never);
    const expected = (await readFrom(fresh, 0)).map(text);
    expect((await readFrom(run.reader, 0)).map(text)).toEqual(expected);
    await fresh.close();
    await run.log.close();
  });

  test("does not grow with the number of updates: small segments become one", async () => {
    const run = await openRun({ segmentBytes: 2000 });
    for (let i = 0; i < 600; i++) {
      await run.put(`${i % 7}=${i} ${"x".repeat(50)}`);
      if (i % 100 === 99) await run.log.maintain();
    }
    const names = await readdir(folderOf(run));
    expect(baseOffsetsOf(names).length).toBeLessThan(12); // of 30
    expect(new Set((await readFrom(run.reader, 0)).map(({ key }) => String(key))).size).toBe(7);
    await checkFiles(run);
    await run.log.close();
  });

  test("keeps a tombstone for delete.retention.ms after it was first compacted, then lets it go", async () => {
    const run = await openRun({ deleteRetentionMs: 10 * hour });
    await run.put("a=1", "b=1");
    await run.put("a", "c=1");
    await roll(run);
    run.time.now += 100 * hour; // however long it lay there before
    await run.log.maintain();
    const withTombstone = ["1 b=1", "2 a", "3 c=1"];
    expect(await contentOf(run)).toEqual(withTombstone);
    expect((await readFrom(run.reader, 0)).map(({ timestamp }) => timestamp)[1]).toBe(1000 * day);
    run.time.now += 9 * hour;
    await roll(run);
    await run.log.maintain();
    expect(await contentOf(run)).toEqual(withTombstone);
    run.time.now += hour;
    await roll(run);
    await run.log.maintain();
    expect(await contentOf(run)).toEqual(["1 b=1", "3 c=1"]);
    await checkFiles(run);
    await run.log.close();
  });

  test("goes on where each producer stands, although none of its records is left, and also when only the batches know", async () => {
    const run = await openRun({});
    const foreign = (baseSequence: number): Buffer =>
      encodeBatch([record("x", { key: Buffer.from("k") }), record("y", { key: Buffer.from("k") })], {
        producerId: 77n,
        producerEpoch: 2,
        baseSequence,
      });
    await run.topic.appendBatch(0, foreign(0));
    const { baseOffset } = await run.topic.appendBatch(0, foreign(2));
    await run.put("k=latest");
    await roll(run);
    await roll(run);
    await run.log.maintain();
    expect(await contentOf(run)).toEqual([`${baseOffset + 2} k=latest`]);
    await run.log.close();
    for (const name of await readdir(folderOf(run))) {
      if (name.endsWith(".snapshot")) await writeFile(path.join(folderOf(run), name), "gone");
    }
    const again = await openRun({}, run.options);
    expect(await again.topic.appendBatch(0, foreign(2))).toMatchObject({ baseOffset, duplicate: true });
    await expect(again.topic.appendBatch(0, foreign(7))).rejects.toEqual(code("OUT_OF_ORDER_SEQUENCE"));
    expect(await again.topic.appendBatch(0, foreign(4))).toMatchObject({ duplicate: false });
    await again.log.close();
  });

  test("keeps what transactions committed, forgets what they aborted, and leaves alone what is not decided", async () => {
    const run = await openRun({ segmentBytes: 900, deleteRetentionMs: 0 });
    const sequences = new Map<bigint, number>();
    const next = (producerId: bigint, key: string, value: string | null): Promise<number> => {
      const sequence = sequences.get(producerId) ?? 0;
      sequences.set(producerId, sequence + 1);
      return within(run, producerId, sequence, key, value);
    };
    const committed = await run.log.openReader((await run.log.describeTopic("t"))?.partitions[0] as never, { isolation: "read_committed" });
    const seen = async (): Promise<string[]> => {
      const found = await readFrom(committed, 0);
      return found.filter(({ key }) => String(key) !== "filler").map(text);
    };
    for (let round = 0; round < 30; round++) {
      await next(1n, "a", `committed ${round}`);
      await next(2n, "a", `aborted ${round}`);
      await next(2n, "b", round === 0 ? "never" : null);
      await end(run, 2n, "abort");
      await run.put(`b=plain ${round}`);
      await end(run, 1n, "commit");
      if (round % 10 === 9) await run.log.maintain();
    }
    await roll(run);
    await roll(run);
    await run.log.maintain();
    run.time.now += hour;
    await run.log.maintain();
    expect((await seen()).slice(-2)).toEqual(["a=committed 29", "b=plain 29"]);
    expect((await seen()).length).toBeLessThan(6);
    const all = await readFrom(run.reader, 0);
    expect(all.filter(({ value }) => String(value).startsWith("aborted")).length).toBeLessThan(3); // in what is not compacted yet

    const open = await next(3n, "c", "open");
    await run.put("b=later");
    await roll(run);
    await roll(run);
    await run.log.maintain();
    expect((await readFrom(run.reader, open)).map(text).slice(0, 2)).toEqual(["c=open", "b=later"]);
    await end(run, 3n, "abort");
    await run.put("b=last");
    await roll(run);
    await roll(run);
    await run.log.maintain();
    expect((await seen()).filter((line) => !line.startsWith("a="))).toEqual(["b=last"]);
    await checkFiles(run);
    await committed.close();
    await run.log.close();
    for (const name of await readdir(folderOf(run))) {
      if (name.endsWith(".snapshot")) await writeFile(path.join(folderOf(run), name), "gone");
    }
    const again = await openRun({ segmentBytes: 900 }, run.options);
    expect(await again.topic.openTransactions(0)).toEqual([]);
    const reader = await again.log.openReader((await again.log.describeTopic("t"))?.partitions[0] as never, {
      isolation: "read_committed",
    });
    expect((await readFrom(reader, 0)).filter(({ value }) => /aborted|open/.test(String(value)))).toEqual([]);
    await again.log.close();
  });

  test("keeps a marker for delete.retention.ms after the last batch of its transaction was gone, and what says an epoch for ever", async () => {
    const run = await openRun({ segmentBytes: 900, deleteRetentionMs: 10 * hour });
    const folder = folderOf(run);
    const aborted = await within(run, 1n, 0, "a", "aborted");
    const abort = await end(run, 1n, "abort");
    await within(run, 2n, 0, "a", "committed");
    const commit = await end(run, 2n, "commit");
    await within(run, 3n, 0, "a", "of a zombie");
    const fence = await end(run, 3n, "abort", 1);
    await within(run, 1n, 1, "b", "later");
    const commit1 = await end(run, 1n, "commit");
    await run.put("a=last");
    await roll(run);
    const compactAgain = async (): Promise<number[]> => {
      await roll(run);
      await run.log.maintain();
      return (await batchesOf(run)).filter(({ isMarker }) => isMarker).map(({ offset }) => offset);
    };
    expect(await compactAgain()).toEqual([abort, commit, fence, commit1]); // what they end was there when the pass began
    expect((await batchesOf(run)).map(({ offset }) => offset)).not.toContain(aborted);
    expect(await run.topic.abortedTransactions(0, 0, fence + 1)).toHaveLength(2);
    expect(await compactAgain()).toEqual([abort, commit, fence, commit1]); // from now on they wait; 2's batch is empty, and its last one
    expect(await run.topic.abortedTransactions(0, 0, fence + 1)).toEqual([]);
    run.time.now += 9 * hour;
    expect(await compactAgain()).toEqual([abort, commit, fence, commit1]);
    run.time.now += 2 * hour;
    expect(await compactAgain()).toEqual([commit, fence, commit1]);
    await checkFiles(run);
    await run.log.close();
    for (const name of await readdir(folder)) if (name.endsWith(".snapshot")) await writeFile(path.join(folder, name), "gone");
    const again = await openRun({ segmentBytes: 900, deleteRetentionMs: 10 * hour }, run.options);
    await expect(within(again, 3n, 1, "a", "zombie", 0)).rejects.toEqual(code("PRODUCER_FENCED"));
    expect(await again.topic.openTransactions(0)).toEqual([]);
    await within(again, 2n, 1, "a", "goes on");
    await again.log.close();
  });

  test("takes no transaction for open whose marker is gone, also where the last snapshot of the producers is from before the marker", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 1, turnsMax: 0 });
    // so little memory for keys that a segment takes many passes
    const config = { segmentBytes: 40_000, deleteRetentionMs: 0 };
    const run = await openRun(config, { directory: "/data", fileSystem, compactionKeyBytesMax: 4096 });
    await within(run, 1n, 0, "a", "aborted");
    await run.put(`filler=${"x".repeat(39_500)}`);
    await run.put(`a=1 ${"x".repeat(500)}`); // begins a segment, so the producers are written down
    const abort = await end(run, 1n, "abort");
    const later = encodeBatch([record("x", { key: Buffer.from("a") })], { producerId: 1n, producerEpoch: 0, baseSequence: 1 });
    await run.topic.appendBatch(0, later);
    for (let i = 0; i < 250; i++) await run.put(`key ${i}=${i}`);
    fileSystem.failNext({ op: "write", code: "EIO", path: ".log" }); // another segment begins, and nothing is written down
    await expect(run.put("refused=1")).rejects.toEqual(code("LOG_FAILED"));
    fileSystem.heal();
    for (let open = true; open; )
      open = await run.log.sync("t").then(
        () => false,
        () => true,
      );
    await run.log.maintain();
    expect((await batchesOf(run)).map(({ offset }) => offset)).not.toContain(abort);
    const again = await openRun(config, { ...run.options, fileSystem: fileSystem.kill() });
    expect(await again.topic.openTransactions(0)).toEqual([]);
    await again.log.close();
  });

  test("waits until enough is dirty, and leaves young records alone", async () => {
    const run = await openRun({ minCleanableDirtyRatio: 0.6, minCompactionLagMs: 5 * hour });
    await run.put("a=1", "a=2");
    await roll(run);
    await run.put("a=3");
    await run.log.maintain();
    expect(await contentOf(run)).toEqual(["0 a=1", "1 a=2", "3 a=3"]);
    run.time.now += 6 * hour;
    await run.log.maintain();
    expect(await contentOf(run)).toEqual(["1 a=2", "3 a=3"]);
    await run.put(`big=${"x".repeat(1500)}`);
    await roll(run);
    run.time.now += 6 * hour;
    await run.log.maintain();
    await run.put("a=4");
    await roll(run);
    run.time.now += 6 * hour;
    await run.log.maintain(); // what is new is less than what is clean
    expect((await contentOf(run)).map((line) => line.slice(0, 7))).toEqual(["3 a=3", "4 big=x", "6 a=4"]);
    await run.log.close();
  });

  test("with more keys than the memory takes needs several passes, and comes to the same end", async () => {
    const run = await openRun({ segmentBytes: 20_000 }, { compactionKeyBytesMax: 4096 });
    const expected = new Map<string, string>();
    for (let i = 0; i < 400; i++) {
      const [key, value] = [`key ${(i * 7) % 300} ${"k".repeat(i % 3 === 0 ? 1500 : 5)}`, `${i}`];
      await run.put(`${key}=${value}`);
      expected.set(key, value);
    }
    await run.put(`filler=${"x".repeat(19_000)}`);
    await run.log.maintain();
    const found = (await readFrom(run.reader, 0)).filter(({ key }) => String(key) !== "filler");
    expect(new Map(found.map(({ key, value }) => [String(key), String(value)]))).toEqual(expected);
    // the segment that is written is not compacted
    expect(found.length).toBeLessThan(340);
    await checkFiles(run);
    await run.log.close();
  });

  test("with compact,delete also loses what is too old; with compact alone nothing goes by age, size or offset", async () => {
    const both = await openRun({ cleanupPolicy: "compact,delete", retentionMs: 10 * hour });
    await both.put("a=1", "b=1");
    await roll(both);
    both.time.now += 20 * hour;
    await both.put("b=2");
    await both.log.maintain();
    expect(await contentOf(both, both.reader.startOffset())).toEqual(["3 b=2"]);
    expect(await both.log.deleteRecords("t", 0, 4)).toBe(4);
    await both.log.close();

    const compact = await openRun({ cleanupPolicy: "compact", retentionMs: 10 * hour, retentionBytes: 10 });
    await compact.put("a=1", "b=1");
    await roll(compact);
    compact.time.now += 20 * hour;
    await compact.put("b=2");
    await compact.log.maintain();
    expect(await contentOf(compact)).toEqual(["0 a=1", "1 b=1", "3 b=2"]);
    await expect(compact.log.deleteRecords("t", 0, 2)).rejects.toEqual(code("POLICY_VIOLATION"));
    await compact.log.close();
  });

  test("takes no record without a key, on any way in, and none that it can't look into", async () => {
    const run = await openRun({});
    const keyless = record("x");
    expect(() => run.topic.append(0, keyless, undefined)).toThrow(expect.objectContaining({ code: "RECORD_WITHOUT_KEY" }) as Error);
    const keyed = record("x", { key: Buffer.alloc(0) });
    await expect(run.log.append({ name: "q", epoch: 0 }, "t", 0, 0, [keyed, keyless])).rejects.toEqual(code("RECORD_WITHOUT_KEY"));
    await expect(run.topic.appendBatch(0, encodeBatch([keyed, keyless]))).rejects.toEqual(code("RECORD_WITHOUT_KEY"));
    const zipped = encodeBatch([keyed]);
    zipped.writeInt16BE(1, BatchField.attributes);
    zipped.writeUInt32BE(crc32c(zipped.subarray(CRC_COVERS_FROM)), BatchField.crc);
    await expect(run.topic.appendBatch(0, zipped)).rejects.toMatchObject({
      code: "UNSUPPORTED_COMPRESSION",
      where: "t-0",
      hint: expect.stringContaining("compression.type=none") as string,
    });
    run.topic.append(0, keyed, undefined);
    await run.log.append({ name: "q", epoch: 0 }, "t", 0, 0, [keyed]);
    expect((await run.topic.appendBatch(0, encodeBatch([keyed]))).baseOffset).toBe(2);
    await run.log.close();
  });

  test("is left as it is by a compaction for which the disk is full or fails, which is made again later", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 1 });
    const run = await openRun({}, { fileSystem, directory: "/data", catalog: new MemoryCatalog() });
    for (let i = 0; i < 30; i++) await run.put(`${i % 3}=${i}`);
    await roll(run);
    const before = await contentOf(run);
    const faults = [
      { op: "write", code: "ENOSPC", path: ".cleaned" },
      { op: "sync", code: "EIO", path: ".cleaned" },
      { op: "open", code: "EMFILE", path: ".cleaned" },
      { op: "read", code: "EIO", path: "0000.log" },
    ] as const;
    for (const fault of faults) {
      fileSystem.failNext(fault);
      await run.log.maintain();
      expect(await contentOf(run)).toEqual(before);
      expect((await fileSystem.list("/data/t-0")).filter((name) => name.includes("cleaned"))).toEqual([]);
      await run.put(`other=${fault.op}`);
      before.push(`${run.reader.highWatermark() - 1} other=${fault.op}`);
    }
    await run.log.maintain();
    expect((await contentOf(run)).length).toBeLessThan(12);
    await run.log.close();
  });

  test("with a flipped bit is not compacted, so that no good record is lost with the bad one", async () => {
    const run = await openRun({});
    for (let i = 0; i < 30; i++) await run.put(`${i % 3}=${i}`);
    await roll(run);
    const first = path.join(folderOf(run), "00000000000000000000.log");
    const bytes = await readFile(first);
    const last = [...batchPositions(bytes)].at(-1) as number;
    // in a record, and in offsets, which no checksum covers
    for (const position of [100, 3, 7, last + 2, last + 7]) {
      const flipped = Buffer.from(bytes);
      flipped[position] = (flipped[position] as number) ^ 1;
      await writeFile(first, flipped);
      await run.log.maintain();
      expect([position, await readFile(first)]).toEqual([position, flipped]);
    }
    await run.log.close();
  });

  test("stops for a close, a deletion and a delete of records, and goes on after the next start", async () => {
    const run = await openRun({ cleanupPolicy: "compact,delete", segmentBytes: 100_000, maxMessageBytes: 20_000 });
    for (let i = 0; i < 3000; i++) run.topic.append(0, record(`${i} ${"x".repeat(100)}`, { key: Buffer.from(`${i % 50}`) }), undefined);
    await run.log.sync("t");
    const maintained = run.log.maintain();
    expect(await run.log.deleteRecords("t", 0, 5)).toBe(5);
    const again = run.log.maintain();
    await run.log.close();
    await Promise.all([maintained, again]);
    const next = await openRun({ cleanupPolicy: "compact,delete", segmentBytes: 100_000, maxMessageBytes: 20_000 }, run.options);
    await next.log.maintain();
    const left = await readFrom(next.reader, next.reader.startOffset());
    expect(left.length).toBeLessThan(2000);
    expect(new Set(left.map(({ key }) => String(key))).size).toBe(50);
    const deleting = next.log.maintain();
    await next.log.deleteTopic("t");
    await deleting;
    expect(await readdir(next.options.directory)).toEqual([]);
    await next.log.close();
  });

  test("whose process was killed while segments were replaced is not called damaged, and is told from one that is", async () => {
    const run = await openRun({ segmentBytes: 2000 });
    for (let i = 0; i < 60; i++) await run.put(`${i % 7}=${i} ${"x".repeat(50)}`);
    await run.log.maintain(); // what it leaves is small: the next one makes one segment of several
    for (let i = 0; i < 60; i++) await run.put(`${i % 7}=${i} ${"x".repeat(50)}`);
    await run.log.close();
    const folder = folderOf(run);
    const before = new Map<string, Buffer>();
    for (const name of await readdir(folder)) before.set(name, await readFile(path.join(folder, name)));
    const again = await openRun({ segmentBytes: 2000 }, run.options);
    await again.log.maintain();
    await again.log.close();
    const left = new Set(await readdir(folder));
    for (const [name, bytes] of before) if (!left.has(name)) await writeFile(path.join(folder, name), bytes);
    const kinds = async (): Promise<string[]> =>
      (await verifyLog(nodeFileSystem, run.options.directory, () => undefined)).problems.map(({ kind }) => kind);
    expect(await kinds()).toEqual(["surplus"]); // the new one has its name, and the others behind it are still there
    const log = path.join(folder, "00000000000000000000.log");
    const whole = await readFile(log);
    await rename(log.replace(".log", ".index"), log.replace(".log", ".index.cleaned"));
    await writeFile(log, before.get(path.basename(log)) as Buffer);
    expect(await kinds()).toEqual(["unfinished"]); // the old indexes are gone, the new ones have not their names
    whole[40] = (whole[40] as number) ^ 1;
    await writeFile(log, whole);
    expect(await kinds()).toContain("batch");
    await rm(folder, { recursive: true });
  });

  test("has batches that count fewer records than offsets, and empty ones only where they are needed", async () => {
    const run = await openRun({});
    await run.put("a=1", "b=1");
    await run.put("a=2");
    await run.put("b=2");
    await roll(run);
    await roll(run);
    await run.log.maintain();
    const first = await run.reader.read(0, 1);
    expect([countAt(first, 0), (await readFrom(run.reader, 0))[0]?.offset]).toEqual([1, 2]);
    await run.log.close();
  });
});
