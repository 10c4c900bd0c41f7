/**
 * What must not grow with what is kept: finding a place, and a start after kill -9. Logs of several sizes lie side by side and take turns; the
 * peer of the largest is the smallest.
 */
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { Random } from "../../src/base/random.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { PartitionReader } from "../../src/log/contract/partitionedLog.ts";
import { inFolder, withLog } from "../workspace.ts";
import { appendBatches, batchOf, GB, KiB, setTimestamp, TOPIC } from "./batches.ts";
import { declareQueues, openBenchBroker } from "./brokers.ts";
import { forgetPages } from "./pageCache.ts";
import { publishAll } from "./publishing.ts";
import { median, percentile, timed } from "./rounds.ts";
import { milliseconds, type Row, type TableOptions } from "./row.ts";
import { Victim } from "./victim.ts";

const BATCH_BYTES = 16 * KiB;
/** From batch to batch. */
const BATCH_MS = 10;
const RECORDS_A_BATCH = batchOf(1024, BATCH_BYTES).records;
const SEEKS_A_ROUND = 500;
const SEEK_ROUNDS = 4;
const SEEK_RATIO_MOST = 1.5;
const KILLS = 5;
const RESTART_MS_MOST = 1000;
/** The same, up to what a busy machine makes of it. */
const RESTART_RATIO_MOST = 1.5;
const SEED = 1;

interface Size {
  readonly gb: number;
  readonly folder: string;
}

async function fill({ gb, folder }: Size): Promise<void> {
  await mkdir(folder);
  await withLog(folder, async (log) => {
    await log.createTopic(TOPIC, { sync: { kind: "always" } });
    const { batch } = batchOf(1024, BATCH_BYTES);
    const count = Math.ceil((gb * GB) / batch.length);
    await appendBatches(log.topic(TOPIC) as EmbeddedTopic, batch, count, (copy, n) => setTimestamp(copy, n * BATCH_MS));
  });
}

type Seek = (reader: PartitionReader, random: Random) => Promise<unknown>;
const seeks: Readonly<Record<string, Seek>> = {
  offset: (reader, random) => reader.read(random.below(reader.highWatermark()), 1),
  timestamp: (reader, random) => reader.offsetForTimestamp(random.below(reader.highWatermark()) * (BATCH_MS / RECORDS_A_BATCH)),
};

async function seekRound(log: EmbeddedLog, seek: Seek, random: Random): Promise<number[]> {
  const reader = await log.openReader(log.topic(TOPIC)?.description.partitions[0] as never);
  await seek(reader, random); // the first one looks at every segment once
  const times: number[] = [];
  for (let n = 0; n < SEEKS_A_ROUND; n++) times.push(await timed(() => seek(reader, random)));
  await reader.close();
  return times;
}

async function tellSeeks(sizes: readonly Size[], effort: number, tell: (row: Row) => void): Promise<void> {
  for (const [by, seek] of Object.entries(seeks)) {
    const random = new Random(SEED);
    const times = new Map<Size, number[]>(sizes.map((size) => [size, []]));
    let isCold = true;
    for (let round = 0; round < SEEK_ROUNDS * effort; round++) {
      for (const [size, all] of times) {
        isCold = forgetPages(size.folder) && isCold;
        all.push(...(await withLog(size.folder, (log) => seekRound(log, seek, random))));
      }
    }
    tellSizes(`seek by ${by}, p99${isCold ? "" : ", from memory"}`, times, (all) => percentile(all, 99), SEEK_RATIO_MOST, tell);
  }
}

/** A row for each size but the first, with the first one as its peer. */
function tellSizes(
  name: string,
  times: ReadonlyMap<Size, readonly number[]>,
  of: (times: readonly number[]) => number,
  ratioMost: number,
  tell: (row: Row) => void,
): void {
  const [[smallest, first], ...others] = [...times] as [[Size, readonly number[]], ...[Size, readonly number[]][]];
  for (const [{ gb }, all] of others) {
    tell({
      name: `${name}, ${gb} GB`,
      value: milliseconds(of(all)),
      limit: `${milliseconds(of(first))} with ${smallest.gb} GB`,
      reached: of(all) / of(first),
      target: ratioMost,
      bound: "most",
      unit: "ratio",
    });
  }
}

async function tellRestarts(kind: "topic" | "queue", sizes: readonly Size[], effort: number, tell: (row: Row) => void): Promise<void> {
  const times = new Map<Size, number[]>(sizes.map((size) => [size, []]));
  const processMs: number[] = [];
  for (let round = 0; round <= KILLS * effort; round++) {
    for (const [{ folder }, all] of times) {
      const victim = await Victim.start(kind, folder);
      await victim.kill();
      if (round === 0) continue; // it came after a clean stop
      all.push(victim.report.readyMs);
      processMs.push(victim.report.processMs - victim.report.readyMs);
    }
  }
  const what = kind === "topic" ? "in a topic" : "parked in a queue";
  for (const [{ gb }, all] of times) {
    tell({
      name: `opened after kill -9, to the first read and append, ${gb} GB ${what}`,
      value: milliseconds(median(all)),
      limit: `${milliseconds(median(processMs))} for Node itself`,
      reached: median(all),
      target: RESTART_MS_MOST,
      bound: "most",
      unit: "ms",
    });
  }
  tellSizes(`  the same, ${what}`, times, median, RESTART_RATIO_MOST, tell);
}

export const sizes = ({ sizesGb, effort }: TableOptions, tell: (row: Row) => void): Promise<void> =>
  inFolder(async (root) => {
    const all = sizesGb.map((gb) => ({ gb, folder: path.join(root, `${gb}`) }));
    for (const size of all) await fill(size);
    await tellSeeks(all, effort, tell);
    await tellRestarts("topic", all, effort, tell);
    for (const { folder } of all) await rm(folder, { recursive: true });
  });

export const parked = ({ sizesGb, effort }: TableOptions, tell: (row: Row) => void): Promise<void> =>
  inFolder(async (root) => {
    const all = sizesGb.map((gb) => ({ gb, folder: path.join(root, `${gb}`) }));
    for (const { gb, folder } of all) {
      await mkdir(folder);
      const bench = await openBenchBroker(folder);
      await publishAll(bench, await declareQueues(bench.host, 1, bench), gb * GB);
      await bench.close();
    }
    await tellRestarts("queue", all, effort, tell);
  });
