/** A log with one compacted topic, on a clock that is set, and what a test says to it. */
import { readdir } from "node:fs/promises";
import path from "node:path";
import { expect } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { PartitionReader, TopicConfig } from "../../src/log/contract/partitionedLog.ts";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { indexesFit } from "../../src/log/embedded/segment/indexCheck.ts";
import { baseOffsetsOf } from "../../src/log/embedded/segment/names.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { batchPositions, endOffsetOf } from "../../src/record/batch.ts";
import { BatchBuilder } from "../../src/record/batchBuilder.ts";
import { BatchAttribute, baseOffsetAt } from "../../src/record/batchHeader.ts";
import { isControlAt } from "../../src/record/controlBatch.ts";
import type { StoredRecord } from "../../src/record/record.ts";
import { logOptions, readFrom, record, temporaryFolder } from "./support.ts";

export const code = (wanted: string): unknown => expect.objectContaining({ code: wanted });
export const hour = 3_600_000;
export const day = 24 * hour;

export interface Run {
  readonly log: EmbeddedLog;
  readonly topic: EmbeddedTopic;
  readonly reader: PartitionReader;
  readonly options: EmbeddedLogOptions;
  readonly time: { now: number };
  /** key=value; key without "=" is a tombstone. One batch. */
  readonly put: (...pairs: string[]) => Promise<void>;
}

export async function openRun(config: Partial<TopicConfig>, more: Partial<EmbeddedLogOptions> = {}): Promise<Run> {
  const time = { now: 1000 * day };
  const options = logOptions(more.directory ?? (await temporaryFolder()), { clock: { ...systemClock, now: () => time.now }, ...more });
  const log = await openEmbeddedLog(options);
  const compacted = { cleanupPolicy: "compact", segmentBytes: 500, minCleanableDirtyRatio: 0 } as const;
  const { partitions } = await log.createTopic("t", { ...compacted, ...config });
  const reader = await log.openReader(partitions[0] as never);
  let sequence = (await log.producerState("p", "t", 0))?.nextSequence ?? 0;
  const put = async (...pairs: string[]): Promise<void> => {
    const records = pairs.map((pair) => {
      const [key, value] = pair.split("=");
      const bytes = { key: Buffer.from(key as string), value: value === undefined ? null : Buffer.from(value) };
      return { ...record(""), ...bytes, timestamp: time.now };
    });
    await log.append({ name: "p", epoch: 0 }, "t", 0, sequence, records);
    sequence += records.length;
  };
  return { log, topic: log.topic("t") as EmbeddedTopic, reader, options, time, put };
}

/** Fills the segment that is written, so that what was put before can be compacted. */
export const roll = (run: Run): Promise<void> => run.put(`filler=${"x".repeat(480)}`);
export const text = ({ key, value }: StoredRecord): string => (value === null ? `${key}` : `${key}=${String(value).slice(0, 20)}`);
export const folderOf = ({ options }: Run): string => path.join(options.directory, "t-0");

/** Without the fillers. */
export async function contentOf(run: Run, from = 0): Promise<string[]> {
  const found = await readFrom(run.reader, from);
  return found.filter(({ key }) => String(key) !== "filler").map((one) => `${one.offset} ${text(one)}`);
}

/** A batch of a transaction, with one record. */
export async function within(
  run: Run,
  producerId: bigint,
  baseSequence: number,
  key: string,
  value: string | null,
  epoch = 0,
): Promise<number> {
  const builder = new BatchBuilder();
  const bytes = { key: Buffer.from(key), value: value === null ? null : Buffer.from(value) };
  builder.append({ ...record(""), ...bytes, timestamp: run.time.now }, 0);
  builder.endBatch({ id: producerId, epoch, baseSequence }, BatchAttribute.transactional);
  return (await run.topic.appendBatch(0, Buffer.from(builder.bytes()))).baseOffset;
}

export const end = (run: Run, producerId: bigint, outcome: "commit" | "abort", epoch = 0): Promise<number> =>
  run.topic.endTransaction(0, { producerId, epoch, coordinatorEpoch: 1, outcome });

export async function batchesOf({ reader }: Run): Promise<{ readonly offset: number; readonly isMarker: boolean }[]> {
  const found: { offset: number; isMarker: boolean }[] = [];
  for (let next = 0; next < reader.highWatermark(); ) {
    const bytes = await reader.read(next, 1 << 16);
    for (const at of batchPositions(bytes)) found.push({ offset: baseOffsetAt(bytes, at), isMarker: isControlAt(bytes, at) });
    next = endOffsetOf(bytes) as number;
  }
  return found;
}

export async function checkFiles(run: Run): Promise<void> {
  const names = await readdir(folderOf(run));
  expect(names.filter((name) => name.endsWith(".cleaned"))).toEqual([]);
  const bases = baseOffsetsOf(names);
  for (const base of bases.slice(0, -1)) expect([base, await indexesFit(nodeFileSystem, folderOf(run), base)]).toEqual([base, true]);
  expect((await verifyLog(nodeFileSystem, run.options.directory, () => undefined)).problems).toEqual([]);
}
