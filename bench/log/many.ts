/**
 * 10,000 partitions and 10,000 queues, each with something in it: what a start takes after a clean stop, and after kill -9 with a full journal;
 * what each of them costs while nobody uses it.
 */
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { inFolder } from "../workspace.ts";
import { batchOf, KiB, MiB, TOPIC } from "./batches.ts";
import { declareQueues, openBenchBroker } from "./brokers.ts";
import { MESSAGE_BYTES, publishAll } from "./publishing.ts";
import { median } from "./rounds.ts";
import { milliseconds, type Row, type TableOptions } from "./row.ts";
import { Victim, type VictimReport } from "./victim.ts";

const TOPICS = 1000;
const PARTITIONS_EACH = 10;
const QUEUES = 10_000;
/** More than the journal's files hold by default, so that it is full when the process is killed. */
const PARKED_BYTES = 640 * MiB;
const ROUNDS = 3;
const CLEAN_MS_MOST = 1000;
const KILLED_MS_MOST = 3000;
const IDLE_BYTES_MOST = 4 * KiB;

async function fill(folder: string): Promise<void> {
  const bench = await openBenchBroker(folder);
  const { batch } = batchOf(100, KiB);
  for (let n = 0; n < TOPICS; n++) {
    const name = n === 0 ? TOPIC : `${TOPIC}${n}`;
    await bench.log.createTopic(name, { partitions: PARTITIONS_EACH });
    const topic = bench.log.topic(name) as EmbeddedTopic;
    await Promise.all(Array.from({ length: PARTITIONS_EACH }, (_, partition) => topic.appendBatch(partition, Buffer.from(batch))));
  }
  await publishAll(bench, await declareQueues(bench.host, QUEUES, bench), QUEUES * MESSAGE_BYTES);
  await bench.close();
}

async function fillJournal(folder: string): Promise<void> {
  const bench = await openBenchBroker(folder);
  const addresses = Array.from({ length: QUEUES }, (_, n) => bench.host.address("", `q${n}`));
  await publishAll(bench, addresses, PARKED_BYTES);
  await bench.close();
}

async function start(folder: string, reports: VictimReport[]): Promise<VictimReport[]> {
  const victim = await Victim.start("many", folder);
  reports.push(victim.report);
  await victim.kill();
  return reports;
}

export const many = ({ effort }: TableOptions, tell: (row: Row) => void): Promise<void> =>
  inFolder(async (folder) => {
    await fill(folder);
    const [idle] = await start(folder, []);
    await fillJournal(folder);
    const cleanly: VictimReport[] = [];
    const killed: VictimReport[] = [];
    for (let round = 0; round < ROUNDS * effort; round++) {
      await start(folder, cleanly);
      await start(folder, killed);
      await (await openBenchBroker(folder)).close();
    }
    const tellStart = (after: string, reports: readonly VictimReport[], target: number): void => {
      const reached = median(reports.map(({ readyMs }) => readyMs));
      const limit = `${milliseconds(median(reports.map(({ processMs, readyMs }) => processMs - readyMs)))} for Node itself`;
      tell({
        name: `opened after ${after}: 10,000 partitions, 10,000 queues`,
        value: milliseconds(reached),
        limit,
        reached,
        target,
        bound: "most",
        unit: "ms",
      });
    };
    tellStart("a clean stop", cleanly, CLEAN_MS_MOST);
    tellStart("kill -9, the journal full", killed, KILLED_MS_MOST);
    const count = TOPICS * PARTITIONS_EACH + QUEUES;
    const bytes = (idle?.bytes ?? 0) / count;
    tell({
      name: "  the memory of each of them",
      value: `${Math.round(bytes)} bytes, with a record or a message each`,
      limit: `${Math.max(...cleanly.map(({ handles }) => handles))} open files in all`,
      reached: bytes,
      target: IDLE_BYTES_MOST,
      bound: "most",
      unit: "bytes",
    });
  });
