/**
 * How long what is done in the background holds the event loop at once: nobody else's message goes on meanwhile. The loop is kept turning,
 * and the longest turn counts; what the collector and other programs take is in it, so that each work has an idle loop beside it.
 */
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { BatchBuilder } from "../../src/record/batchBuilder.ts";
import { inFolder, withLog } from "../workspace.ts";
import { appendBatches, batchOf, KiB, MiB, TOPIC } from "./batches.ts";
import { declareQueues, openBenchBroker } from "./brokers.ts";
import { publishAll } from "./publishing.ts";
import { milliseconds, type Row, type TableOptions } from "./row.ts";

const TURN_MS_MOST = 10;
const KEYS = 200_000;
const KEYED_BATCHES = 600;
const RECORDS_A_BATCH = 1000;
const PARTITIONS = 10_000;
const SEGMENT_BYTES = 8 * MiB;
const RETAINED_BYTES = 256 * MiB;
const PARKED_BYTES = 1024 * MiB;

/** @returns the longest turn of the loop until the work is over, and of an idle loop for as long, behind it; milliseconds */
async function longestTurns(work: () => Promise<unknown>): Promise<{ busy: number; idle: number; workMs: number }> {
  const began = performance.now();
  const busy = await watched(work);
  const workMs = performance.now() - began;
  const idle = await watched(() => new Promise((resolve) => setTimeout(resolve, workMs)));
  return { busy, idle, workMs };
}

async function watched(work: () => Promise<unknown>): Promise<number> {
  let over = false;
  let longest = 0;
  const turning = new Promise<void>((resolve) => {
    let last = performance.now();
    const turn = (): void => {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
      if (over) resolve();
      else setImmediate(turn);
    };
    setImmediate(turn);
  });
  await work().finally(() => {
    over = true;
  });
  await turning;
  return longest;
}

async function compaction(): Promise<Turns> {
  return inFolder((folder) =>
    withLog(folder, async (log) => {
      await log.createTopic(TOPIC, { cleanupPolicy: "compact", segmentBytes: SEGMENT_BYTES });
      const topic = log.topic(TOPIC) as EmbeddedTopic;
      const value = Buffer.alloc(100, "abcdefghijklmnop");
      for (let batch = 0, n = 0; batch < KEYED_BATCHES; batch++) {
        const builder = new BatchBuilder(256 * KiB);
        for (let i = 0; i < RECORDS_A_BATCH; i++, n++) {
          const key = Buffer.from(String((n * 7919) % KEYS));
          builder.append({ key, value, headers: [], timestamp: n }, i);
        }
        builder.endBatch();
        await topic.appendBatch(0, Buffer.from(builder.bytes()));
      }
      return longestTurns(() => log.maintain());
    }),
  );
}

async function retention(): Promise<Turns> {
  return inFolder((folder) =>
    withLog(folder, async (log) => {
      await log.createTopic(TOPIC, { segmentBytes: MiB, retentionBytes: MiB });
      const { batch } = batchOf(1024, 256 * KiB);
      await appendBatches(log.topic(TOPIC) as EmbeddedTopic, batch, RETAINED_BYTES / batch.length);
      for (let n = 0; n < PARTITIONS / 100; n++) await log.createTopic(`many${n}`, { partitions: 100 });
      return longestTurns(() => log.maintain());
    }),
  );
}

async function queueGone(): Promise<Turns> {
  return inFolder(async (folder) => {
    const bench = await openBenchBroker(folder);
    await publishAll(bench, await declareQueues(bench.host, 1, bench), PARKED_BYTES);
    const turns = await longestTurns(() => bench.host.deleteQueue("q0", { ifUnused: false, ifEmpty: false }, bench));
    await bench.close();
    return turns;
  });
}

async function writeBehind(): Promise<Turns> {
  return inFolder(async (folder) => {
    const bench = await openBenchBroker(folder);
    const addresses = await declareQueues(bench.host, 10, bench);
    const turns = await longestTurns(() => publishAll(bench, addresses, PARKED_BYTES));
    await bench.close();
    return turns;
  });
}

type Turns = Awaited<ReturnType<typeof longestTurns>>;

const works: Readonly<Record<string, () => Promise<Turns>>> = {
  "compaction, 600,000 records of 200,000 keys": compaction,
  "retention of 256 segments, among 10,000 partitions": retention,
  "a queue with 1,000,000 messages is deleted": queueGone,
  "1 GiB published to 10 queues, and moved out of the journal": writeBehind,
};

export async function turns(_: TableOptions, tell: (row: Row) => void): Promise<void> {
  for (const [name, work] of Object.entries(works)) {
    const { busy, idle, workMs } = await work();
    tell({
      name: `longest turn: ${name}`,
      value: `${milliseconds(busy)} in ${milliseconds(workMs)}`,
      limit: `${milliseconds(idle)} of an idle loop`,
      reached: busy,
      target: TURN_MS_MOST,
      bound: "most",
      unit: "ms",
    });
  }
}
