import path from "node:path";
import { describe, expect, test } from "vitest";
import { silentLogger } from "../../src/base/logger.ts";
import { Random } from "../../src/base/random.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { TopicConfig } from "../../src/log/contract/partitionedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { SimulatedClock } from "../support/simulatedClock.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { logOptions, record, smallDefaults } from "./support.ts";

const entryBytes = 12;
const segmentBytes = 30_000;

/** Times that mostly ascend; in each segment some of them are far ahead of those behind them. */
const timesOf = (random: Random, count: number): number[] =>
  Array.from({ length: count }, (_, i) => 1000 + 10 * i + (random.below(12) === 0 ? 150 + random.below(300) : random.below(30)));

async function appended(seed: number, written: number | readonly number[], config: Partial<TopicConfig> = {}) {
  const fileSystem = new SimulatedFileSystem({ seed, turnsMax: 0 });
  const clock = new SimulatedClock(0);
  const options = logOptions("/data", { fileSystem, clock, defaults: { ...smallDefaults, segmentBytes, ...config } });
  const log = await openEmbeddedLog(options);
  await log.createTopic("t");
  const times = typeof written === "number" ? timesOf(new Random(seed), written) : written;
  await append(log, times);
  return { fileSystem, clock, options, log, times };
}

async function append(log: EmbeddedLog, times: readonly number[]): Promise<void> {
  const topic = log.topic("t") as EmbeddedTopic;
  for (const timestamp of times) await topic.appendBatch(0, encodeBatch([record("x".repeat(900), { timestamp })]));
}

const timeIndexes = (fileSystem: SimulatedFileSystem): string[] =>
  fileSystem.files("/data/t-0").filter((file) => file.endsWith(".timeindex"));

async function cut(fileSystem: SimulatedFileSystem, file: string, entries: number): Promise<void> {
  const handle = await fileSystem.open(file, "write");
  await handle.truncate(entries * entryBytes);
  await handle.close();
}

async function searchAll(log: EmbeddedLog, times: readonly number[]): Promise<void> {
  const reader = await log.openReader((log.topic("t") as EmbeddedTopic).description.partitions[0] as never);
  for (let wanted = 900; wanted < Math.max(...times) + 20; wanted += 37) {
    const found = await reader.offsetForTimestamp(wanted);
    expect([wanted, found?.offset ?? -1]).toEqual([wanted, times.findIndex((time) => time >= wanted)]);
  }
  await reader.close();
}

describe("a time index that lost its end", () => {
  test("hides no record, however much of it is left", async () => {
    for (let seed = 1; seed <= 2; seed++) {
      const { fileSystem, log, times } = await appended(seed, 110);
      const indexes = timeIndexes(fileSystem).slice(0, -1);
      expect(indexes.length).toBeGreaterThan(1);
      for (const file of indexes) {
        for (let left = (fileSystem.peek(file) as Buffer).length / entryBytes - 1; left >= 0; left--) {
          await cut(fileSystem, file, left);
          await searchAll(log, times);
        }
      }
      await log.close();
    }
  });

  test("is made again by upkeep, and named by verify", async () => {
    const { fileSystem, options, log } = await appended(2, 110);
    await log.close();
    const [file] = timeIndexes(fileSystem) as [string];
    const whole = Buffer.from(fileSystem.peek(file) as Buffer);
    await cut(fileSystem, file, whole.length / entryBytes - 1);
    const { problems } = await verifyLog(fileSystem, "/data", () => undefined);
    expect(problems).toEqual([expect.objectContaining({ kind: "index", file: file.replace(".timeindex", ".log") })]);
    const said: string[] = [];
    const again = await openEmbeddedLog({ ...options, logger: { ...silentLogger, warn: (message) => void said.push(message) } });
    await again.maintain();
    expect(said).toEqual(["rebuilding the indexes of a segment"]);
    expect(fileSystem.peek(file)).toEqual(whole);
    await again.close();
  });

  test("makes retention take nothing before its time", async () => {
    for (const left of [0, 1, 2]) {
      const { fileSystem, clock, log, times } = await appended(3, 110, { retentionMs: 1000 });
      const indexes = timeIndexes(fileSystem).slice(0, -1);
      for (const file of indexes) await cut(fileSystem, file, left);
      const secondBase = Number(path.basename(indexes[1] as string, ".timeindex"));
      const topic = log.topic("t") as EmbeddedTopic;
      clock.advance(Math.max(...times.slice(0, secondBase)) + 1000);
      await log.maintain();
      expect(topic.startOffset(0)).toBe(0);
      clock.advance(1);
      await log.maintain();
      expect(topic.startOffset(0)).toBeGreaterThanOrEqual(secondBase);
      await log.close();
    }
  });

  test("is made again by who goes on in its segment after a clean stop, so that later entries do not hide what it lost", async () => {
    const before = Array.from({ length: 20 }, (_, i) => (i === 8 ? 2000 : 1000 + i));
    for (let left = 0; left < 4; left++) {
      const { fileSystem, options, log, times } = await appended(4, before);
      await log.close();
      await cut(fileSystem, timeIndexes(fileSystem).at(-1) as string, left);
      const again = await openEmbeddedLog(options);
      const more = Array.from({ length: 60 }, (_, i) => 1500 + 10 * i);
      await append(again, more);
      await searchAll(again, [...times, ...more]);
      await again.close();
    }
  });
});
