import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { expect, onTestFinished } from "vitest";
import { ByteBudget } from "../../src/base/byteBudget.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { Json, KeyedStore } from "../../src/log/contract/keyedStore.ts";
import { type PartitionReader, type TopicConfig, topicConfigDefaults, UNLIMITED } from "../../src/log/contract/partitionedLog.ts";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { endOffsetOf, records } from "../../src/record/batch.ts";
import { Receipt } from "../../src/record/receipt.ts";
import type { NewRecord, StoredRecord } from "../../src/record/record.ts";

export const smallDefaults: TopicConfig = {
  ...topicConfigDefaults,
  segmentBytes: 1 << 20,
  maxMessageBytes: 1 << 20,
  retentionMs: UNLIMITED,
};

/** A catalog that outlives the log that uses it, as a durable one does. */
export class MemoryCatalog implements KeyedStore {
  readonly entries = new Map<string, Json>();

  async change(changes: ReadonlyMap<string, Json | null>): Promise<void> {
    for (const [key, value] of changes) {
      if (value === null) this.entries.delete(key);
      else this.entries.set(key, value);
    }
  }

  async close(): Promise<void> {}
}

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "millrace-log-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export function logOptions(directory: string, more: Partial<EmbeddedLogOptions> = {}): EmbeddedLogOptions {
  return {
    directory,
    fileSystem: nodeFileSystem,
    clock: systemClock,
    logger: silentLogger,
    budget: new ByteBudget("log bytes in flight", 64 << 20),
    catalog: new MemoryCatalog(),
    defaults: smallDefaults,
    ...more,
  };
}

export const record = (value: string, more: Partial<NewRecord> = {}): NewRecord => ({
  key: null,
  value: Buffer.from(value),
  headers: [],
  timestamp: 1000,
  ...more,
});

/** A receipt, and the promise of its end. */
export function receipt(): { receipt: Receipt; settled: Promise<Error | undefined> } {
  let settle: (failure: Error | undefined) => void;
  const settled = new Promise<Error | undefined>((resolve) => {
    settle = resolve;
  });
  return { receipt: new Receipt((failure) => settle(failure)), settled };
}

export async function readFrom(reader: PartitionReader, offset: number, bytesMax = 1 << 16): Promise<StoredRecord[]> {
  const all: StoredRecord[] = [];
  let next = offset;
  while (next < reader.highWatermark()) {
    const bytes = await reader.read(next, bytesMax);
    if (bytes.length === 0) throw new Error(`nothing at ${next}, below the high watermark`);
    for (const found of records(bytes)) if (found.offset >= next) all.push(found);
    next = endOffsetOf(bytes) ?? next;
  }
  return all;
}

export const valuesOf = (found: readonly StoredRecord[]): string[] => found.map(({ value }) => String(value));

export const producer = { name: "p", epoch: 0 };
export const code = (wanted: string): unknown => expect.objectContaining({ code: wanted });

export async function openWithTopic(
  more: Partial<EmbeddedLogOptions> = {},
): Promise<{ log: EmbeddedLog; topic: EmbeddedTopic; options: EmbeddedLogOptions }> {
  const options = logOptions(more.directory ?? (await temporaryFolder()), more);
  const log = await openEmbeddedLog(options);
  await log.createTopic("t");
  return { log, topic: log.topic("t") as EmbeddedTopic, options };
}

export async function readAll(log: EmbeddedLog, partition = 0): Promise<string[]> {
  const descriptor = log.topic("t")?.description.partitions[partition];
  if (descriptor === undefined) throw new Error("no such partition");
  const reader = await log.openReader(descriptor);
  try {
    return valuesOf(await readFrom(reader, reader.startOffset()));
  } finally {
    await reader.close();
  }
}

/** Each value in a batch of its own. */
export async function appendOneByOne(log: EmbeddedLog, values: readonly string[], from = 0): Promise<void> {
  for (const [i, value] of values.entries()) await log.append(producer, "t", 0, from + i, [record(value)]);
}

export const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `value ${i} ${"x".repeat(i % 50)}`);
