import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import type { MillraceError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { TopicConfig } from "../../src/log/contract/partitionedLog.ts";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { type BatchOptions, encodeBatch } from "../../src/record/batch.ts";
import { BatchAttribute, BatchField, baseOffsetAt } from "../../src/record/batchHeader.ts";
import { validateBatch } from "../../src/record/validateBatch.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { code, logOptions, readFrom, record, temporaryFolder, valuesOf } from "./support.ts";

async function openRun(config: Partial<TopicConfig> = {}, more: Partial<EmbeddedLogOptions> = {}) {
  const options = logOptions(more.directory ?? (await temporaryFolder()), more);
  const log = await openEmbeddedLog(options);
  await log.createTopic("t", config);
  return { log, topic: log.topic("t") as EmbeddedTopic, options };
}

function batch(values: readonly string[], options: BatchOptions = {}): Buffer {
  const records = values.map((value) => record(value, { key: Buffer.from("k") }));
  const encoded = encodeBatch(records, { baseOffset: 77, ...options });
  encoded.writeInt32BE(5, BatchField.partitionLeaderEpoch); // no checksum covers it
  return encoded;
}

async function readAll(log: EmbeddedLog): Promise<string[]> {
  const reader = await log.openReader(log.topic("t")?.description.partitions[0] as never);
  const found = await readFrom(reader, 0);
  expect(found.map(({ offset }) => offset)).toEqual(found.map((_, i) => i));
  await reader.close();
  return valuesOf(found);
}

describe("a batch that a producer encoded", () => {
  test("gets its offset and is served as it came, small or large, between the log's own records", async () => {
    const { log, topic, options } = await openRun();
    const large = "x".repeat(100_000);
    topic.append(0, record("own"), undefined);
    const sent = [batch(["a", "b"]), batch([large]), batch(["c"])];
    const copies = sent.map((one) => Buffer.from(one));
    const waits = [topic.appendBatch(0, sent[0] as Buffer), topic.appendBatch(0, sent[1] as Buffer)];
    topic.append(0, record("own again"), undefined);
    waits.push(topic.appendBatch(0, sent[2] as Buffer));
    expect(await Promise.all(waits)).toEqual([1, 3, 5].map((baseOffset) => ({ baseOffset, logAppendTime: -1, duplicate: false })));
    expect(await readAll(log)).toEqual(["own", "a", "b", large, "own again", "c"]);
    const reader = await log.openReader(topic.description.partitions[0] as never);
    const stored = await reader.read(3, 1);
    expect(baseOffsetAt(stored, 0)).toBe(3);
    expect(stored.readInt32BE(BatchField.partitionLeaderEpoch)).toBe(0);
    expect(stored.subarray(16)).toEqual(copies[1]?.subarray(16));
    expect(options.budget.used).toBe(0);
    await reader.close();
    await log.close();
  });

  test("is refused when a bit is flipped, when bytes are missing or left over, when it is too large or not a producer's to write", async () => {
    const { log, topic } = await openRun({ maxMessageBytes: 500 });
    const good = batch(["hello", "world"]);
    for (let bit = 16 * 8; bit < good.length * 8; bit += 7) {
      const bad = Buffer.from(good);
      bad[bit >> 3] = (bad[bit >> 3] as number) ^ (1 << (bit & 7));
      await expect(topic.appendBatch(0, bad), `bit ${bit}`).rejects.toThrow();
    }
    for (let length = 0; length < good.length; length++) {
      await expect(topic.appendBatch(0, good.subarray(0, length))).rejects.toThrow();
    }
    await expect(topic.appendBatch(0, Buffer.concat([good, Buffer.alloc(1)]))).rejects.toEqual(code("BATCH_CORRUPT"));
    await expect(topic.appendBatch(0, batch(["x".repeat(600)]))).rejects.toEqual(code("RECORD_TOO_LARGE"));
    await expect(topic.appendBatch(0, batch(["x"], { producerId: 5n, producerEpoch: 0, baseSequence: -1 }))).rejects.toEqual(
      code("BATCH_CORRUPT"),
    );
    expect(topic.endOffset(0)).toBe(0);
    await topic.appendBatch(0, good);
    await log.close();
  });

  test("gets the time of its append where the topic says so, with a checksum that fits", async () => {
    const { log, topic } = await openRun({ timestampType: "LogAppendTime" }, { clock: { ...systemClock, now: () => 42_000 } });
    expect(await topic.appendBatch(0, batch(["a", "b"]))).toEqual({ baseOffset: 0, logAppendTime: 42_000, duplicate: false });
    topic.append(0, record("own"), undefined);
    await log.append({ name: "p", epoch: 0 }, "t", 0, 0, [record("as")]);
    const reader = await log.openReader(topic.description.partitions[0] as never);
    const found = await readFrom(reader, 0);
    expect(found.map(({ timestamp }) => timestamp)).toEqual([42_000, 42_000, 42_000, 42_000]);
    const stored = await reader.read(0, 1);
    expect(validateBatch(stored, 0, stored.length)).toBeUndefined();
    expect(stored.readInt16BE(BatchField.attributes) & BatchAttribute.logAppendTime).toBeTruthy();
    expect(await reader.offsetForTimestamp(42_000)).toEqual({ offset: 0, timestamp: 42_000 });
    await reader.close();
    await log.close();
  });
});

describe("an idempotent producer", () => {
  const of = (id: number, epoch: number, baseSequence: number, values: readonly string[]): Buffer =>
    batch(values, { producerId: BigInt(id), producerEpoch: epoch, baseSequence });

  test("has its last five batches recognised, with their offsets; a gap and an older epoch are refused", async () => {
    const { log, topic, options } = await openRun();
    for (let i = 0; i < 7; i++) await topic.appendBatch(0, of(9, 1, i * 2, [`${i}`, `${i}`]));
    for (let i = 2; i < 7; i++)
      expect(await topic.appendBatch(0, of(9, 1, i * 2, [`${i}`, `${i}`]))).toMatchObject({ baseOffset: i * 2, duplicate: true });
    await expect(topic.appendBatch(0, of(9, 1, 2, ["1", "1"]))).rejects.toEqual(code("OUT_OF_ORDER_SEQUENCE"));
    await expect(topic.appendBatch(0, of(9, 1, 20, ["gap"]))).rejects.toEqual(code("OUT_OF_ORDER_SEQUENCE"));
    await expect(topic.appendBatch(0, of(9, 0, 14, ["old"]))).rejects.toEqual(code("PRODUCER_FENCED"));
    await expect(topic.appendBatch(0, of(9, 2, 14, ["new epoch begins at 0"]))).rejects.toEqual(code("OUT_OF_ORDER_SEQUENCE"));
    await topic.appendBatch(0, of(9, 2, 0, ["next epoch"]));
    await topic.appendBatch(0, of(10, 0, 500, ["its state expired"]));
    await log.close();
    const again = await openEmbeddedLog(options);
    const after = again.topic("t") as EmbeddedTopic;
    expect(await after.appendBatch(0, of(9, 2, 0, ["next epoch"]))).toMatchObject({ baseOffset: 14, duplicate: true });
    await expect(after.appendBatch(0, of(9, 1, 14, ["zombie"]))).rejects.toEqual(code("PRODUCER_FENCED"));
    expect(topic.endOffset(0)).toBe(16);
    await again.close();
  });

  test("counts on at 0 after the last sequence", async () => {
    const { log, topic } = await openRun();
    await topic.appendBatch(0, of(9, 0, 2 ** 31 - 2, ["a", "b", "c"]));
    await topic.appendBatch(0, of(9, 0, 1, ["d"]));
    expect(await topic.appendBatch(0, of(9, 0, 2 ** 31 - 2, ["a", "b", "c"]))).toMatchObject({ duplicate: true });
    expect(await readAll(log)).toEqual(["a", "b", "c", "d"]);
    await log.close();
  });

  test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])(
    "that sends again until it is told keeps each batch once, whatever fails on the way (seed %i)",
    async (seed) => {
      const random = new Random(seed);
      let fileSystem = new SimulatedFileSystem({ seed });
      const config = { segmentBytes: 1500, sync: { kind: "always" } } as const;
      const clock = { ...systemClock, after: (_ms: number, then: () => void) => systemClock.after(1, then) };
      const run = await openRun(config, { fileSystem, directory: "/data", clock });
      let { log } = run;
      const kept: string[] = [];
      let failures = 0;
      for (let sequence = 0; sequence < 120; ) {
        const values = Array.from({ length: 1 + random.below(3) }, (_, i) => `${sequence + i} ${"x".repeat(random.below(100))}`);
        if (random.below(4) === 0)
          fileSystem.failNext({
            op: random.pick(["write", "sync", "open", "syncDirectory", "truncate"] as const),
            code: "EIO",
            path: "t-0",
          });
        for (let told = false; !told; ) {
          try {
            await log.topic("t")?.appendBatch(0, of(3, 0, sequence, values));
            told = true;
          } catch (error) {
            expect(["LOG_FAILED", "LOG_NOT_OPENED"]).toContain((error as MillraceError).code);
            failures++;
            await new Promise((resolve) => setTimeout(resolve, 2));
          }
        }
        kept.push(...values);
        sequence += values.length;
        if (random.below(15) > 0) continue;
        fileSystem.heal();
        fileSystem = random.below(2) === 0 ? fileSystem.crash() : fileSystem.kill();
        log = await openEmbeddedLog({ ...run.options, fileSystem });
        expect(await readAll(log)).toEqual(kept);
      }
      fileSystem.heal();
      expect(await readAll(log)).toEqual(kept);
      expect(failures).toBeGreaterThan(3);
      await log.close();
    },
  );
});
