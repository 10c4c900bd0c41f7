import { describe, expect, onTestFinished, test } from "vitest";
import type { LogFields, Logger } from "../../src/base/logger.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { ABORTED_ENTRY_BYTES, decodeAborted, replaceAbortedIndex } from "../../src/log/embedded/transactions/abortedIndex.ts";
import { changed } from "../support/changed.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { logOptions, smallDefaults } from "./support.ts";
import { end, producerBatch, recordsFrom } from "./transactionSupport.ts";

class Warnings implements Logger {
  readonly said: LogFields[] = [];
  debug = (): void => undefined;
  info = (): void => undefined;
  error = (): void => undefined;
  child = (): Logger => this;
  warn(message: string, fields: LogFields = {}): void {
    if (message.includes("aborted transactions")) this.said.push(fields);
  }
  /** What was said since it was asked last. */
  take(): (readonly [unknown, unknown])[] {
    return this.said.splice(0).map(({ file, at }) => [file, at]);
  }
}

/** Three producers whose transactions lie between each other's, and what of them a reader of committed records must be given. */
class Writing {
  readonly committed: string[] = [];
  private readonly sequences = new Map<number, number>();
  private rounds = 0;

  /** Two of three transactions are aborted. */
  async round(topic: EmbeddedTopic): Promise<void> {
    const round = this.rounds++;
    const plain: string[] = [];
    const values: string[][] = [[], [], []];
    for (let i = 0; i < 2; i++) {
      for (const id of [1, 2, 3]) {
        const value = `round ${round} of ${id}, ${i} ${"x".repeat(40)}`;
        await this.append(topic, id, value, true);
        values[id - 1]?.push(value);
      }
      plain.push(`round ${round}, no transaction, ${i}`);
      await this.append(topic, 4, plain[i] as string, false);
    }
    const commits = 1 + (round % 3);
    for (const id of [3, 1, 2]) await end(topic, id === commits ? "commit" : "abort", id);
    this.committed.push(...plain, ...(values[commits - 1] as string[]));
  }

  private async append(topic: EmbeddedTopic, id: number, value: string, transactional: boolean): Promise<void> {
    const sequence = this.sequences.get(id) ?? 0;
    this.sequences.set(id, sequence + 1);
    await topic.appendBatch(0, producerBatch([value], { id, epoch: 0, sequence }, transactional));
  }
}

async function open(options: EmbeddedLogOptions): Promise<{ log: EmbeddedLog; topic: EmbeddedTopic }> {
  const log = await openEmbeddedLog(options);
  onTestFinished(() => log.close().catch(() => undefined)); // some were killed
  await log.createTopic("t");
  return { log, topic: log.topic("t") as EmbeddedTopic };
}

async function committedIn({ log, topic }: { log: EmbeddedLog; topic: EmbeddedTopic }): Promise<string[]> {
  const reader = await log.openReader(topic.description.partitions[0] as never, { isolation: "read_committed" });
  const found = await recordsFrom(reader, 0);
  await reader.close();
  return found.map(([, value]) => value).toSorted();
}

/** Of rounds that came to their ends, over several segments, after a clean stop. */
async function written(
  segmentBytes = 3000,
): Promise<{ fileSystem: SimulatedFileSystem; options: EmbeddedLogOptions; warnings: Warnings; writing: Writing }> {
  const fileSystem = new SimulatedFileSystem({ seed: 1, turnsMax: 0 });
  const warnings = new Warnings();
  const options = logOptions("/data", { fileSystem, logger: warnings, defaults: { ...smallDefaults, segmentBytes } });
  const writing = new Writing();
  const { log, topic } = await open(options);
  for (let i = 0; i < 6; i++) await writing.round(topic);
  await log.close();
  return { fileSystem, options, warnings, writing };
}

const indexesOf = (fileSystem: SimulatedFileSystem): string[] => fileSystem.files("/data").filter((file) => file.endsWith(".txnindex"));
const contentOf = (fileSystem: SimulatedFileSystem, file: string): Buffer => Buffer.from(fileSystem.peek(file) as Buffer);
const entryOf = (position: number): number => position - (position % ABORTED_ENTRY_BYTES);
const sorted = ({ committed }: Writing): string[] => committed.toSorted();

describe("a flipped bit in an index of aborted transactions", () => {
  test("changes an entry's checksum, and so do two", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 1 });
    await fileSystem.makeDirectory("/data");
    const entry = { producerId: 77n, firstOffset: 1_000_000, lastOffset: 1_000_500, lastStableOffset: 1_000_400 };
    await replaceAbortedIndex(fileSystem, "/data", 0, [entry]);
    const bytes = contentOf(fileSystem, indexesOf(fileSystem)[0] as string);
    const flip = (bit: number): void => void bytes.writeUInt8((bytes[bit >> 3] as number) ^ (1 << (bit & 7)), bit >> 3);
    expect(decodeAborted(bytes, { lastOffset: -1 })).toEqual({ entries: [entry], damage: undefined });
    const missed: number[][] = [];
    const look = (...bits: number[]): void => {
      if (decodeAborted(bytes, { lastOffset: -1 }).damage?.position !== 0) missed.push(bits);
    };
    for (let first = 0; first < bytes.length * 8; first++) {
      flip(first);
      look(first);
      for (let second = first + 1; second < bytes.length * 8; second++) {
        flip(second);
        look(first, second);
        flip(second);
      }
      flip(first);
    }
    expect(missed).toEqual([]);
  });

  test("wherever it is, gives no reader wrong records: the file is named, and made again as it was", async () => {
    const { fileSystem, options, warnings, writing } = await written();
    const files = indexesOf(fileSystem);
    expect(files.length).toBeGreaterThan(2);
    for (const file of files) {
      const good = contentOf(fileSystem, file);
      for (let at = 0; at < good.length; at++) {
        fileSystem.flip(file, at, 1 << ((at * 5) % 8));
        const run = await open(options);
        expect([file, at, await committedIn(run)]).toEqual([file, at, sorted(writing)]);
        await run.log.maintain();
        expect([at, warnings.take()]).toEqual([at, [[file, entryOf(at)]]]);
        expect([file, at, contentOf(fileSystem, file)]).toEqual([file, at, good]);
        expect(await committedIn(run)).toEqual(sorted(writing));
        await run.log.close();
      }
    }
  });

  test("is found by a start after kill -9 too; of what was not synced nothing is believed, so there is nothing to say", async () => {
    let said = 0;
    let unsaid = 0;
    for (let at = 0; at < 14 * ABORTED_ENTRY_BYTES; at += 7) {
      const { fileSystem, options, warnings, writing } = await written(1 << 20);
      const [file] = indexesOf(fileSystem) as [string];
      const syncedBytes = contentOf(fileSystem, file).length;
      const before = await open(options);
      await writing.round(before.topic);
      const good = contentOf(fileSystem, file);
      expect([syncedBytes, good.length]).toEqual([12 * ABORTED_ENTRY_BYTES, 14 * ABORTED_ENTRY_BYTES]);
      fileSystem.flip(file, at, 1 << (at % 8));
      const killed = fileSystem.kill();
      const run = await open({ ...options, fileSystem: killed });
      const isSynced = at < syncedBytes;
      if (isSynced) said++;
      else unsaid++;
      expect([at, warnings.take()]).toEqual([at, isSynced ? [[file, entryOf(at)]] : []]);
      expect([at, contentOf(killed, file)]).toEqual([at, good]);
      expect([at, await committedIn(run)]).toEqual([at, sorted(writing)]);
      await run.log.close();
    }
    expect(Math.min(said, unsaid)).toBeGreaterThan(5);
  });

  test("of a log that is in use is met by its readers, who tell its upkeep; also in the segment that is written", async () => {
    const { fileSystem, options, warnings, writing } = await written();
    const run = await open(options);
    await writing.round(run.topic);
    await run.log.maintain(); // looks at all files for the first time
    for (let flips = 0; flips < 30; flips++) {
      await writing.round(run.topic);
      const files = indexesOf(fileSystem);
      const file = (flips % 2 === 0 ? files.at(-1) : files[flips % files.length]) as string;
      const good = contentOf(fileSystem, file);
      const at = (flips * 11) % good.length;
      fileSystem.flip(file, at, 1 << (flips % 8));
      expect([flips, await committedIn(run)]).toEqual([flips, sorted(writing)]);
      expect(warnings.take()).toEqual([]);
      await writing.round(run.topic);
      await run.log.maintain();
      expect([flips, warnings.take()]).toEqual([flips, [[file, entryOf(at)]]]);
      const mended = contentOf(fileSystem, file);
      expect([flips, mended.subarray(0, good.length)]).toEqual([flips, good]);
      expect([flips, await committedIn(run)]).toEqual([flips, sorted(writing)]);
      await run.log.maintain();
      expect(warnings.take()).toEqual([]);
    }
    await run.log.close();
  });

  test("is not what entries are taken for that have no checksum, as an older release wrote them: they get theirs", async () => {
    const { fileSystem, options, writing } = await written();
    const files = indexesOf(fileSystem);
    const good = files.map((file) => contentOf(fileSystem, file));
    for (const [i, file] of files.entries()) {
      const bytes = good[i] as Buffer;
      for (let at = 0; at < bytes.length; at += ABORTED_ENTRY_BYTES) {
        for (const byte of [at, at + 1]) fileSystem.flip(file, byte, bytes[byte] as number);
      }
    }
    const run = await open(options);
    expect(await committedIn(run)).toEqual(sorted(writing));
    await run.log.maintain();
    expect(files.map((file) => contentOf(fileSystem, file))).toEqual(good);
    await run.log.close();
  });
});

test("a partition without transactions has no such file, and nobody looks for one but by the folder's list", async () => {
  const asked: string[] = [];
  const simulated = new SimulatedFileSystem({ seed: 1, turnsMax: 0 });
  const note = (file: string): void => void (file.endsWith(".txnindex") && asked.push(file));
  const fileSystem = changed(simulated, {
    open: (file: string, mode: "read" | "write" | "create") => (note(file), simulated.open(file, mode)),
    readFile: (file: string) => (note(file), simulated.readFile(file)),
  });
  const run = await open(logOptions("/data", { fileSystem, defaults: { ...smallDefaults, segmentBytes: 300 } }));
  for (let i = 0; i < 20; i++) {
    await run.topic.appendBatch(0, producerBatch(["x".repeat(100)], { id: 1, epoch: 0, sequence: i }, false));
  }
  const first = asked.splice(0).length;
  expect(first).toBeLessThan(2); // the start of the writer
  await run.log.maintain();
  expect(await committedIn(run)).toHaveLength(20);
  await run.log.close();
  expect(asked).toEqual([]);
  expect(indexesOf(simulated)).toEqual([]);
});
