/** A partition in which a process was killed, for who damages its segment and looks what is left. */
import { expect } from "vitest";
import type { MillraceError } from "../../src/base/errors.ts";
import { type Logger, silentLogger } from "../../src/base/logger.ts";
import { Random } from "../../src/base/random.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { PartitionReader, TopicConfig } from "../../src/log/contract/partitionedLog.ts";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { batchPositions, endOffsetOf, records } from "../../src/record/batch.ts";
import { baseOffsetAt, batchBytesAt, lastOffsetAt } from "../../src/record/batchHeader.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { logOptions, producer, record, smallDefaults } from "./support.ts";

export const file = "/data/t-0/00000000000000000000.log";
export const nothing = (): void => undefined;

export interface Batch {
  readonly position: number;
  readonly bytes: number;
  readonly base: number;
  readonly end: number;
}

/** A node that was killed, and what it had confirmed. */
export interface Killed {
  fileSystem: SimulatedFileSystem;
  readonly options: EmbeddedLogOptions;
  readonly values: string[];
  readonly batches: readonly Batch[];
  readonly errors: string[];
}

const sizes = new Random(5);
/** Of one to four records, small ones and large ones. */
export const plan = Array.from({ length: 16 }, (_, i) =>
  Array.from({ length: 1 + (i % 4) }, (_, j) => `${i}.${j} ${"x".repeat(i % 5 === 2 ? 2000 : sizes.below(120))}`),
);

/** @param timestampOf of a batch's records */
export async function killed(config: Partial<TopicConfig> = {}, timestampOf?: (batch: number) => number): Promise<Killed> {
  const errors: string[] = [];
  const logger: Logger = { ...silentLogger, error: (_, fields) => void errors.push(String(fields?.error)) };
  const fileSystem = new SimulatedFileSystem({ seed: 1, turnsMax: 0 });
  const options = logOptions("/data", { fileSystem, logger, diskReserveBytes: 0, defaults: { ...smallDefaults, ...config } });
  const log = await openEmbeddedLog(options);
  await log.createTopic("t");
  let sequence = 0;
  for (const [i, values] of plan.entries()) {
    const batch = values.map((value) => record(value, timestampOf && { timestamp: timestampOf(i) }));
    await log.append(producer, "t", 0, sequence, batch);
    sequence += values.length;
  }
  return { fileSystem: fileSystem.kill(), options, values: plan.flat(), batches: batchesOf(fileSystem.peek(file) as Buffer), errors };
}

export const batchesOf = (bytes: Buffer): Batch[] =>
  [...batchPositions(bytes)].map((position) => ({
    position,
    bytes: batchBytesAt(bytes, position),
    base: baseOffsetAt(bytes, position),
    end: lastOffsetAt(bytes, position) + 1,
  }));

export const start = (node: Killed): Promise<EmbeddedLog> => openEmbeddedLog({ ...node.options, fileSystem: node.fileSystem });

export async function reading<T>(log: EmbeddedLog, use: (reader: PartitionReader) => Promise<T>): Promise<T> {
  const reader = await log.openReader((log.topic("t") as EmbeddedTopic).description.partitions[0] as never);
  try {
    return await use(reader);
  } finally {
    await reader.close();
  }
}

/** What each offset is read as, on its own and one after the other. */
export async function served(log: EmbeddedLog): Promise<Map<number, string>> {
  const alone = await reading(log, async (reader) => {
    const found = new Map<number, string>();
    for (let offset = 0; offset < reader.highWatermark(); offset++) {
      const read = await reader.read(offset, 1).catch((error: MillraceError) => error);
      found.set(offset, read instanceof Error ? textOf(read) : valueAt(read, offset));
    }
    return found;
  });
  await reading(log, async (reader) => {
    for (let next = 0; next < reader.highWatermark(); ) {
      const read = await reader.read(next, 5000).catch((error: MillraceError) => error);
      if (read instanceof Error) {
        for (let offset = next; offset < (read.readableFrom as number); offset++) expect(alone.get(offset)).toBe(textOf(read));
        expect(read.readableFrom).toBeGreaterThan(next);
        next = read.readableFrom as number;
        continue;
      }
      for (const { offset, value } of records(read)) if (offset >= next) expect(alone.get(offset)).toBe(String(value));
      next = endOffsetOf(read) as number;
    }
  });
  return alone;
}

export const textOf = ({ code, where, readableFrom }: MillraceError): string => `${code} ${where} up to ${readableFrom}`;
export const valueAt = (bytes: Buffer, wanted: number): string =>
  String([...records(bytes)].find(({ offset }) => offset === wanted)?.value);

/** All values, but for what lies in the holes: from offset to offset, at a position. */
export function expected(
  values: readonly string[],
  ...holes: (readonly [from: number, to: number, position: number])[]
): Map<number, string> {
  return new Map(
    values.map((value, offset) => {
      const hole = holes.find(([from, to]) => offset >= from && offset < to);
      return [offset, hole === undefined ? value : `LOG_CORRUPT ${file} at byte ${hole[2]} up to ${hole[1]}`];
    }),
  );
}

export const overwrite = async (fileSystem: SimulatedFileSystem, position: number, bytes: Buffer): Promise<void> => {
  const handle = await fileSystem.open(file, "write");
  await handle.write(bytes, 0, bytes.length, position);
  await handle.sync();
  await handle.close();
};
