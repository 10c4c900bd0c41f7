import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { onTestFinished } from "vitest";
import { ByteBudget } from "../../src/base/byteBudget.ts";
import { systemClock } from "../../src/base/clock.ts";
import type { FileSystem } from "../../src/base/fileSystem.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import type { Json, KeyedStore } from "../../src/log/contract/keyedStore.ts";
import { type PartitionReader, type TopicConfig, topicConfigDefaults, UNLIMITED } from "../../src/log/contract/partitionedLog.ts";
import type { EmbeddedLogOptions } from "../../src/log/embedded/embeddedLog.ts";
import { nextOffset, records } from "../../src/record/batch.ts";
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
    next = nextOffset(bytes);
  }
  return all;
}

export const valuesOf = (found: readonly StoredRecord[]): string[] => found.map(({ value }) => String(value));

/** A file system of which one operation is replaced. */
export const changed = (fileSystem: FileSystem, changes: Partial<FileSystem>): FileSystem => ({
  open: (file, mode) => fileSystem.open(file, mode),
  readFile: (file) => fileSystem.readFile(file),
  list: (folder) => fileSystem.list(folder),
  stat: (file) => fileSystem.stat(file),
  makeDirectory: (folder) => fileSystem.makeDirectory(folder),
  rename: (from, to) => fileSystem.rename(from, to),
  removeFile: (file) => fileSystem.removeFile(file),
  removeTree: (folder) => fileSystem.removeTree(folder),
  syncDirectory: (folder) => fileSystem.syncDirectory(folder),
  freeBytes: (folder) => fileSystem.freeBytes(folder),
  ...changes,
});
