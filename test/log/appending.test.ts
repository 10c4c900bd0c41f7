import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { ByteBudget } from "../../src/base/byteBudget.ts";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { batchPositions } from "../../src/record/batch.ts";
import { baseOffsetAt, lastOffsetAt } from "../../src/record/batchHeader.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { appendOneByOne, numbers, openWithTopic, readAll, receipt, record, smallDefaults } from "./support.ts";

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
});
