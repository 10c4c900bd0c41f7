import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import type { MillraceError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { batchPositions, encodeBatch } from "../../src/record/batch.ts";
import { BatchField, baseOffsetAt, writeInt64 } from "../../src/record/batchHeader.ts";
import { logOptions, readFrom, record, temporaryFolder } from "./support.ts";

/** Of 300 batches most go; of what is left the offsets have gaps of all sizes. */
async function compacted() {
  const options = logOptions(await temporaryFolder());
  const log = await openEmbeddedLog(options);
  await log.createTopic("t", { cleanupPolicy: "compact", segmentBytes: 12_000, minCleanableDirtyRatio: 0 });
  const topic = log.topic("t") as EmbeddedTopic;
  for (let i = 0; i < 300; i++) {
    const key = Buffer.from(i % 3 === 0 ? `k${i}` : "often");
    await topic.appendBatch(0, encodeBatch([record(`${i}`, { key, timestamp: i })]));
  }
  await topic.appendBatch(0, encodeBatch([record("x".repeat(11_900), { key: Buffer.from("big"), timestamp: 300 })]));
  await log.maintain();
  return { log, topic, first: path.join(options.directory, "t-0", "00000000000000000000.log") };
}

/** Half of the batches are late, so that a search by time goes over many. */
async function timed() {
  const options = logOptions(await temporaryFolder());
  const log = await openEmbeddedLog({ ...options, defaults: { ...options.defaults, segmentBytes: 12_000 } });
  await log.createTopic("t");
  const topic = log.topic("t") as EmbeddedTopic;
  const times = Array.from({ length: 90 }, (_, i) => (i % 2 === 0 ? 10 * i : Math.max(0, 10 * i - 300)));
  for (const timestamp of times) await topic.appendBatch(0, encodeBatch([record("x".repeat(300), { timestamp })]));
  return { log, topic, times, folder: path.join(options.directory, "t-0") };
}

const corruptAt = (file: string, position: number): unknown =>
  expect.objectContaining({ code: "LOG_CORRUPT", where: `${file} at byte ${position}` });

describe("a flipped bit in a compacted segment", () => {
  test("is found also in a batch's offset, where it looks like a gap or like a batch of the next segment", async () => {
    const { log, topic, first } = await compacted();
    const bytes = await readFile(first);
    const positions = [...batchPositions(bytes)];
    expect(positions.length).toBeGreaterThan(50);
    for (let bit = 0; bit < 64; bit++) {
      const batch = positions[(bit * 7) % positions.length] as number;
      const flipped = Buffer.from(bytes);
      const at = batch + BatchField.baseOffset + (bit >>> 3);
      flipped[at] = (flipped[at] as number) ^ (1 << (bit & 7));
      await writeFile(first, flipped);
      const reader = await log.openReader(topic.description.partitions[0] as never);
      const before = baseOffsetAt(bytes, batch);
      await expect(readFrom(reader, 0, 1 << 20), `bit ${bit}`).rejects.toEqual(corruptAt(first, batch));
      if (before > 0) expect((await reader.read(0, 1 << 20)).length).toBe(batch); // what lies before it is served
      await expect(reader.read(before, 1), `bit ${bit}`).rejects.toEqual(corruptAt(first, batch));
      await reader.close();
    }
    await writeFile(first, bytes);
    expect((await readFrom(await log.openReader(topic.description.partitions[0] as never), 0)).length).toBe(102);
    await log.close();
  });

  test("is looked for only in batches that have a checksum of their offset: older ones are read as they were", async () => {
    const { log, topic, first } = await compacted();
    const bytes = await readFile(first);
    for (const at of batchPositions(bytes)) bytes.writeInt32BE(0, at + BatchField.partitionLeaderEpoch);
    await writeFile(first, bytes);
    const reader = await log.openReader(topic.description.partitions[0] as never);
    expect((await readFrom(reader, 0)).length).toBe(102);
    const [, second] = [...batchPositions(bytes)] as [number, number];
    writeInt64(bytes, second, 0); // not behind the one before it
    await writeFile(first, bytes);
    await expect(readFrom(reader, 0)).rejects.toEqual(corruptAt(first, second));
    await log.close();
  });
});

test("who reads gets no checksum where Kafka's clients expect the leader's epoch", async () => {
  const { log, topic, first } = await compacted();
  expect((await readFile(first)).readInt32BE(BatchField.partitionLeaderEpoch)).not.toBe(0);
  const reader = await log.openReader(topic.description.partitions[0] as never);
  const bytes = await reader.read(0, 1 << 16);
  for (const at of batchPositions(bytes)) expect(bytes.readInt32BE(at + BatchField.partitionLeaderEpoch)).toBe(0);
  await log.close();
});

describe("a search by time", () => {
  test("over a damaged batch finds the right record or says where the damage is, and passes over nothing", async () => {
    const { log, topic, times, folder } = await timed();
    const logs = (await readdir(folder)).filter((name) => name.endsWith(".log")).toSorted();
    expect(logs.length).toBeGreaterThan(2);
    const random = new Random(7);
    let refused = 0;
    for (const name of logs.slice(0, 2)) {
      const file = path.join(folder, name);
      const bytes = await readFile(file);
      for (const batch of batchPositions(bytes)) {
        const flipped = Buffer.from(bytes);
        // its latest timestamp, which seems to be earlier then; its offset; its records: by turns
        const at = batch + random.pick([BatchField.maxTimestamp + 6, BatchField.maxTimestamp + 7, 6, 100]);
        flipped[at] = (flipped[at] as number) ^ ((flipped[at] as number) & -(flipped[at] as number) || 1);
        await writeFile(file, flipped);
        const reader = await log.openReader(topic.description.partitions[0] as never);
        for (let wanted = 0; wanted < 900; wanted += 23) {
          const found = await reader.offsetForTimestamp(wanted).catch((error: MillraceError) => error);
          if (found instanceof Error) {
            expect(found).toEqual(corruptAt(file, batch));
            refused++;
          } else expect([wanted, found?.offset ?? -1]).toEqual([wanted, times.findIndex((time) => time >= wanted)]);
        }
        await reader.close();
      }
      await writeFile(file, bytes);
    }
    expect(refused).toBeGreaterThan(100);
    await log.close();
  });
});

test("a segment file that is not there any more is damage, not retention; what lies behind it is read", async () => {
  const { log, folder } = await timed();
  const bases = (await readdir(folder)).filter((name) => name.endsWith(".log")).toSorted();
  const [first, second] = bases.map((name) => Number.parseInt(name, 10)) as [number, number];
  await rm(path.join(folder, bases[0] as string));
  const reader = await log.openReader(log.topic("t")?.description.partitions[0] as never);
  await expect(reader.read(first, 1000)).rejects.toMatchObject({ code: "LOG_CORRUPT", where: expect.stringContaining(folder) as string });
  expect((await readFrom(reader, second))[0]?.offset).toBe(second);
  await reader.close();
  await log.close();
});
