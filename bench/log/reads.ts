/** A partition read from its begin to its end: from the disk against a plain read of the same files, and its end from memory. */
import { open, readdir } from "node:fs/promises";
import path from "node:path";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { PartitionReader } from "../../src/log/contract/partitionedLog.ts";
import { batchPositions } from "../../src/record/batch.ts";
import { lastOffsetAt } from "../../src/record/batchHeader.ts";
import { inFolder, withLog } from "../workspace.ts";
import { appendBatches, batchOf, GB, KiB, MiB } from "./batches.ts";
import { forgetPages } from "./pageCache.ts";
import { inTurns, medianOf, timed } from "./rounds.ts";
import { megabytesPerSecond, type Row, type TableOptions } from "./row.ts";

const BATCH_BYTES = 64 * KiB;
const TAIL_BYTES = 64 * MiB;
const ROUNDS = 5;
const COLD_RATIO_LEAST = 0.8;
const TAIL_MB_S_LEAST = 1000;

async function readThrough(reader: PartitionReader, from: number): Promise<number> {
  const end = reader.highWatermark();
  let bytes = 0;
  let batches: Buffer | undefined;
  for (let offset = from; offset < end; ) {
    batches = await reader.read(offset, MiB, batches);
    let last = 0;
    for (const at of batchPositions(batches)) last = at;
    offset = lastOffsetAt(batches, last) + 1;
    bytes += batches.length;
  }
  return bytes;
}

async function readPlainly(files: readonly string[]): Promise<void> {
  const into = Buffer.allocUnsafe(MiB);
  for (const name of files) {
    const file = await open(name, "r");
    for (let at = 0; ; ) {
      const { bytesRead } = await file.read(into, 0, into.length, at);
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    await file.close();
  }
}

async function measured(log: EmbeddedLog, folder: string, rounds: number, tell: (row: Row) => void): Promise<void> {
  await log.createTopic("t", { sync: { kind: "never" } });
  const topic = log.topic("t") as EmbeddedTopic;
  const { batch, records } = batchOf(1024, BATCH_BYTES);
  const count = Math.ceil(GB / batch.length);
  await appendBatches(topic, batch, count);
  await log.sync("t");
  const reader = await log.openReader(topic.description.partitions[0] as never);
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".log"));
  const files = names.map((name) => path.join(folder, name)).toSorted();
  let isCold = true;
  const cold = async (work: () => Promise<unknown>): Promise<number> => {
    isCold = forgetPages(folder) && isCold;
    return timed(work);
  };
  const { ms, cpuMs, peerMs, ratio } = await inTurns(
    rounds,
    () => cold(() => readThrough(reader, 0)),
    () => cold(() => readPlainly(files)),
  );
  tell({
    name: isCold ? "sequential read from the disk" : "sequential read (from memory: its pages could not be forgotten)",
    value: `${megabytesPerSecond(count * batch.length, ms)}, ${megabytesPerSecond(count * batch.length, cpuMs)} of CPU`,
    limit: `${megabytesPerSecond(count * batch.length, peerMs)} plain read`,
    reached: ratio,
    target: COLD_RATIO_LEAST,
    bound: "least",
    unit: "ratio",
  });
  const tail = Math.floor(TAIL_BYTES / batch.length);
  const tailMs = await medianOf(3 * rounds, () => timed(() => readThrough(reader, (count - tail) * records)));
  await reader.close();
  tell({
    name: "read of the last 64 MiB",
    value: megabytesPerSecond(tail * batch.length, tailMs),
    reached: (tail * batch.length) / tailMs / 1000,
    target: TAIL_MB_S_LEAST,
    bound: "least",
    unit: "MB/s",
  });
}

export const reads = ({ effort }: TableOptions, tell: (row: Row) => void): Promise<void> =>
  inFolder((folder) => withLog(folder, (log) => measured(log, folder, ROUNDS * effort, tell)));
