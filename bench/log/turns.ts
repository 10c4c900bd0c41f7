/**
 * How long what is done in the background holds the event loop at once: nobody else's message goes on meanwhile. The loop is kept turning;
 * of each turn counts what it took, but no more than the processor time of the whole process in it: the rest is another program's. The
 * collector's part counts. What the loop's own thread had of a processor in a turn is said beside it: on a busy machine the loop waits for
 * the collector's helpers, which wait for a processor.
 */
import { openSync, readSync } from "node:fs";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { BatchBuilder } from "../../src/record/batchBuilder.ts";
import type { NewRecord } from "../../src/record/record.ts";
import { inFolder, withLog } from "../workspace.ts";
import { appendBatches, batchOf, KiB, MiB, TOPIC } from "./batches.ts";
import { declareQueues, openBenchBroker } from "./brokers.ts";
import { publishAll } from "./publishing.ts";
import { median } from "./rounds.ts";
import { milliseconds, type Row, type TableOptions } from "./row.ts";

const TURN_MS_MOST = 10;
const ROUNDS = 3;
const KEYS = 200_000;
const KEYED_BATCHES = 600;
const RECORDS_A_BATCH = 1000;
const SMALL_VALUE = Buffer.alloc(100, "abcdefghijklmnop");
const LARGE_BYTES = 16 * MiB;
const LARGE_BATCHES = 12;
const LARGE_SEGMENT_BYTES = 64 * MiB;
const LARGE_VALUE = Buffer.alloc(15_000_000, "abcdefghijklmnop");
const KIB_VALUE = Buffer.alloc(KiB, "abcdefghijklmnop");
const PARTITIONS = 10_000;
const SEGMENT_BYTES = 8 * MiB;
const RETAINED_BYTES = 256 * MiB;
const PARKED_BYTES = 1024 * MiB;

interface Turns {
  readonly longestMs: number;
  /** Of the processor, as the loop's own thread; the same turn or another. */
  readonly longestOwnMs: number;
  /** Of the work. */
  readonly ms: number;
}

const schedulerStatistics = process.platform === "linux" ? openSync("/proc/thread-self/schedstat", "r") : undefined;
const statisticsText = Buffer.alloc(64);

/** Of this thread; 0 where the system does not say. */
function ownCpuMs(): number {
  if (schedulerStatistics === undefined) return 0;
  readSync(schedulerStatistics, statisticsText, 0, statisticsText.length, 0);
  return Number.parseInt(statisticsText.toString("latin1"), 10) / 1e6;
}

async function watched(work: () => Promise<unknown>): Promise<Turns> {
  let over = false;
  let longestMs = 0;
  let longestOwnMs = 0;
  const began = performance.now();
  const turning = new Promise<void>((resolve) => {
    let last = performance.now();
    let cpu = process.cpuUsage();
    let own = ownCpuMs();
    const turn = (): void => {
      const now = performance.now();
      if (now - last > longestMs) {
        const { user, system } = process.cpuUsage(cpu);
        longestMs = Math.max(longestMs, Math.min(now - last, (user + system) / 1000));
      }
      const ownNow = ownCpuMs();
      longestOwnMs = Math.max(longestOwnMs, ownNow - own);
      own = ownNow;
      last = now;
      cpu = process.cpuUsage();
      if (over) resolve();
      else setImmediate(turn);
    };
    setImmediate(turn);
  });
  await work().finally(() => {
    over = true;
  });
  await turning;
  return { longestMs, longestOwnMs, ms: performance.now() - began };
}

/** @param recordsOf those of each batch; their keys decide what goes. */
async function compaction(batches: number, segmentBytes: number, recordsOf: (batch: number) => Iterable<NewRecord>): Promise<Turns> {
  return inFolder((folder) =>
    withLog(folder, async (log) => {
      await log.createTopic(TOPIC, { cleanupPolicy: "compact", segmentBytes, maxMessageBytes: LARGE_BYTES + KiB });
      const topic = log.topic(TOPIC) as EmbeddedTopic;
      for (let batch = 0; batch < batches; batch++) {
        const builder = new BatchBuilder(256 * KiB);
        for (const record of recordsOf(batch)) builder.append(record, builder.count);
        builder.endBatch();
        await topic.appendBatch(0, Buffer.from(builder.bytes()));
      }
      return watched(() => log.maintain());
    }),
  );
}

const keyed = (key: number, value: Buffer): NewRecord => ({ key: Buffer.from(String(key)), value, headers: [], timestamp: key });

const smallBatches = (): Promise<Turns> =>
  compaction(KEYED_BATCHES, SEGMENT_BYTES, (batch) =>
    Array.from({ length: RECORDS_A_BATCH }, (_, i) => keyed(((batch * RECORDS_A_BATCH + i) * 7919) % KEYS, SMALL_VALUE)),
  );

/** Half of their records stay. */
const largeBatches = (): Promise<Turns> =>
  compaction(LARGE_BATCHES, LARGE_SEGMENT_BYTES, function* (batch) {
    for (let i = 0; i * (KiB + 32) < LARGE_BYTES; i++) yield keyed(i % 2 === 0 ? i : batch * LARGE_BYTES + i, KIB_VALUE);
  });

/** In a batch with one that goes. */
const largeRecords = (): Promise<Turns> =>
  compaction(LARGE_BATCHES, LARGE_SEGMENT_BYTES, (batch) => [keyed(0, KIB_VALUE), keyed(1 + batch, LARGE_VALUE)]);

async function retention(): Promise<Turns> {
  return inFolder((folder) =>
    withLog(folder, async (log) => {
      await log.createTopic(TOPIC, { segmentBytes: MiB, retentionBytes: MiB });
      const { batch } = batchOf(1024, 256 * KiB);
      await appendBatches(log.topic(TOPIC) as EmbeddedTopic, batch, RETAINED_BYTES / batch.length);
      for (let n = 0; n < PARTITIONS / 100; n++) await log.createTopic(`many${n}`, { partitions: 100 });
      return watched(() => log.maintain());
    }),
  );
}

async function queueGone(): Promise<Turns> {
  return inFolder(async (folder) => {
    const bench = await openBenchBroker(folder);
    await publishAll(bench, await declareQueues(bench.host, 1, bench), PARKED_BYTES);
    const turns = await watched(() => bench.host.deleteQueue("q0", { ifUnused: false, ifEmpty: false }, bench));
    await bench.close();
    return turns;
  });
}

const works: Readonly<Record<string, () => Promise<Turns>>> = {
  "compaction, 600,000 records of 200,000 keys": smallBatches,
  "compaction, batches of 16 MiB": largeBatches,
  "compaction, records of 15 MB": largeRecords,
  "retention of 256 segments, among 10,000 partitions": retention,
  "a queue with 1,000,000 messages is deleted": queueGone,
};

export async function turns(_: TableOptions, tell: (row: Row) => void): Promise<void> {
  for (const [name, work] of Object.entries(works)) {
    const rounds: Turns[] = [];
    for (let round = 0; round < ROUNDS; round++) rounds.push(await work());
    const longestMs = median(rounds.map((one) => one.longestMs));
    const ownMs = median(rounds.map((one) => one.longestOwnMs));
    const ms = median(rounds.map((one) => one.ms));
    tell({
      name: `longest turn: ${name}`,
      value: `${milliseconds(longestMs)}, ${milliseconds(ownMs)} CPU; in ${milliseconds(ms)}`,
      reached: longestMs,
      target: TURN_MS_MOST,
      bound: "most",
      unit: "ms",
    });
  }
}
