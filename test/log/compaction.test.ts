import { readdir } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { crc32c } from "../../src/base/crc32c.ts";
import { baseOffsetsOf } from "../../src/log/embedded/segment/names.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { BatchField, CRC_COVERS_FROM, countAt } from "../../src/record/batchHeader.ts";
import type { StoredRecord } from "../../src/record/record.ts";
import { checkFiles, code, contentOf, day, folderOf, hour, openRun, roll, text } from "./compactedTopic.ts";
import { readFrom, record } from "./support.ts";

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

  test("keeps a record that is larger than what compaction writes at once", async () => {
    const run = await openRun({ maxMessageBytes: 1 << 20 });
    await run.put("a=1", `large=${"x".repeat(700_000)}`, "b=1");
    await run.put("a=2", "b=2");
    await roll(run);
    await run.log.maintain();
    const found = await readFrom(run.reader, 0);
    expect(found.slice(0, 3).map(({ offset, value }) => [offset, value?.length])).toEqual([
      [1, 700_000],
      [3, 1],
      [4, 1],
    ]);
    await checkFiles(run);
    await run.log.close();
  });

  test("keeps the latest of large records and of large keys, in large batches, and lets their tombstones go", async () => {
    const run = await openRun({ maxMessageBytes: 1 << 23, deleteRetentionMs: 10 * hour });
    const key = (n: number, bytes: number): string => `${n}`.padEnd(bytes, "k");
    const value = (n: number, bytes: number): string => `${n}`.padEnd(bytes, "v");
    const [short, digested, inTurns] = [key(1, 10), key(2, 20_000), key(3, 1_000_000)];
    await run.put(...[short, digested, inTurns].map((one) => `${one}=${value(1, 1_500_000)}`), "a=1");
    await run.put(`b=${value(2, 2_000_000)}`, `${digested}=${value(2, 10)}`, `${key(4, 1_000_000)}=4`, "a=2");
    await run.put(inTurns, `c=${value(3, 3_000_000)}`, "a=3");
    const all = await readFrom(run.reader, 0);
    const told = (records: readonly StoredRecord[]) =>
      records.map(({ offset, key, value, timestamp }) => [offset, timestamp, key && crc32c(key), value && crc32c(value)]);
    const left = (gone: readonly number[]) => told(all.filter(({ offset }) => !gone.includes(offset)));
    const found = async () => told((await readFrom(run.reader, 0)).filter(({ key }) => String(key) !== "filler"));
    await roll(run);
    await run.log.maintain();
    expect(await found()).toEqual(left([1, 2, 3, 7]));
    run.time.now += 10 * hour;
    await roll(run);
    await run.log.maintain();
    expect(await found()).toEqual(left([1, 2, 3, 7, 8]));
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
