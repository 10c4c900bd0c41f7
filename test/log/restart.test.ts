import { readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { batchPositions, records } from "../../src/record/batch.ts";
import {
  appendOneByOne,
  code,
  MemoryCatalog,
  numbers,
  openWithTopic,
  producer,
  readAll,
  readFrom,
  receipt,
  record,
  smallDefaults,
  valuesOf,
} from "./support.ts";

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

  test("after a kill, a flipped bit in what was synced is damage and never cut, and what lies behind it is served; only in the last write it cannot be told from a torn end", async () => {
    const { log, options, topic } = await openWithTopic({ diskReserveBytes: 0 });
    await appendOneByOne(log, numbers(20));
    const lastWrite = [receipt(), receipt()];
    for (const { receipt } of lastWrite) {
      topic.append(0, record("of the last write"), receipt);
      receipt.seal();
    }
    for (const { settled } of lastWrite) await settled;
    const file = path.join(options.directory, "t-0", "00000000000000000000.log");
    const bytes = await readFile(file);
    const batches = [...batchPositions(bytes)];
    const dead = new Map((options.catalog as MemoryCatalog).entries); // what the process that is killed here has said
    await log.close();
    const last = batches.at(-1) as number;
    for (let at = 0; at < bytes.length; at += 11) {
      for (const name of await readdir(path.dirname(file))) await rm(path.join(path.dirname(file), name));
      await writeFile(
        file,
        bytes.map((byte, i) => (i === at ? byte ^ (1 << (at % 8)) : byte)),
      );
      (options.catalog as MemoryCatalog).entries.clear();
      for (const [key, value] of dead) (options.catalog as MemoryCatalog).entries.set(key, value);
      const again = await openEmbeddedLog(options);
      const batch = batches.findLastIndex((position) => position <= at);
      const reader = await again.openReader((await again.describeTopic("t"))?.partitions[0] as never);
      expect(valuesOf(batch === 0 ? [] : [...records(await reader.read(0, 100_000))]).slice(0, 20), `byte ${at}`).toEqual(
        numbers(20).slice(0, batch),
      );
      if (at < last) {
        await again.append({ name: "n", epoch: 0 }, "t", 0, 0, [record("after")]);
        expect(valuesOf(await readFrom(reader, batch + 1)), `byte ${at}`).toEqual([
          ...numbers(20).slice(batch + 1),
          "of the last write",
          "of the last write",
          "after",
        ]);
        expect((await stat(file)).size).toBe(bytes.length);
      } else {
        await again.append({ name: "n", epoch: 0 }, "t", 0, 0, [record("after")]);
        expect(await readAll(again)).toEqual([...numbers(20), "after"]);
      }
      await reader.close();
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
