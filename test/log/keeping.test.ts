import { readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import type { File, FileSystem } from "../../src/base/fileSystem.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { type PartitionReader, type TopicConfig, UNLIMITED } from "../../src/log/contract/partitionedLog.ts";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { changed } from "../support/changed.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { until } from "../support/until.ts";
import { code, logOptions, MemoryCatalog, producer, readFrom, record, temporaryFolder, valuesOf } from "./support.ts";

const hour = 3_600_000;

interface Run {
  readonly log: EmbeddedLog;
  readonly topic: EmbeddedTopic;
  readonly reader: PartitionReader;
  readonly options: EmbeddedLogOptions;
  readonly append: (...values: [value: string, timestamp: number][]) => Promise<void>;
}

const time = { now: 0 };

async function openRun(config: Partial<TopicConfig>, more: Partial<EmbeddedLogOptions> = {}): Promise<Run> {
  const options = logOptions(more.directory ?? (await temporaryFolder()), { clock: { ...systemClock, now: () => time.now }, ...more });
  const log = await openEmbeddedLog(options);
  const { partitions } = await log.createTopic("t", { partitions: 1, ...config });
  const reader = await log.openReader(partitions[0] as never);
  let sequence = (await log.producerState("p", "t", 0))?.nextSequence ?? 0;
  const append = async (...values: [value: string, timestamp: number][]): Promise<void> => {
    for (const [value, timestamp] of values)
      await log.append(producer, "t", 0, sequence++, [record(value, { timestamp, key: Buffer.from(value) })]);
  };
  return { log, topic: log.topic("t") as EmbeddedTopic, reader, options, append };
}

const segmentsOf = async ({ options }: Run): Promise<string[]> =>
  (await readdir(path.join(options.directory, "t-0"))).filter((name) => name.endsWith(".log")).toSorted();

const hourly = (count: number): [string, number][] => Array.from({ length: count }, (_, i) => [`${i} ${"x".repeat(80)}`, i * hour]);

describe("retention", () => {
  test("by age removes whole segments whose newest record is older, the written one too, and says where the log begins", async () => {
    const run = await openRun({ retentionMs: 10 * hour, segmentBytes: 500 });
    await run.append(...hourly(30));
    expect((await segmentsOf(run)).length).toBeGreaterThan(8);
    time.now = 25 * hour;
    await run.log.maintain();
    const start = run.reader.startOffset();
    expect(start).toBeGreaterThan(10);
    expect(start).toBeLessThanOrEqual(15);
    expect(run.topic.startOffset(0)).toBe(start);
    await expect(run.reader.read(start - 1, 1000)).rejects.toEqual(code("OFFSET_OUT_OF_RANGE"));
    expect((await readFrom(run.reader, start)).map(({ offset }) => offset)).toEqual(
      Array.from({ length: 30 - start }, (_, i) => start + i),
    );
    time.now = 100 * hour;
    await run.log.maintain();
    expect([run.reader.startOffset(), run.reader.highWatermark()]).toEqual([30, 30]);
    expect(await segmentsOf(run)).toEqual(["00000000000000000030.log"]);
    await run.append(["new", 100 * hour]);
    expect(valuesOf(await readFrom(run.reader, 30))).toEqual(["new"]);
    await run.log.close();
    const again = await openRun({}, run.options);
    expect(again.reader.startOffset()).toBe(30);
    expect(valuesOf(await readFrom(again.reader, 30))).toEqual(["new"]);
    await again.log.close();
  });

  test("by size keeps at least that much", async () => {
    const run = await openRun({ retentionMs: UNLIMITED, retentionBytes: 2000, segmentBytes: 500 });
    await run.append(...hourly(40));
    await run.log.maintain();
    const sizes = await Promise.all(
      (await segmentsOf(run)).map(async (name) => (await nodeFileSystem.stat(path.join(run.options.directory, "t-0", name)))?.bytes ?? 0),
    );
    const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
    expect(total).toBeGreaterThanOrEqual(2000);
    expect(total - (sizes[0] as number)).toBeLessThan(2000);
    await run.log.close();
  });

  test("makes room in every topic before anything else is looked after in one", async () => {
    const steps: string[] = [];
    const fileSystem = changed(nodeFileSystem, {
      readFile: (file) => {
        if (file.includes("/t-0/") && file.endsWith("index")) steps.push("an index of the first topic");
        return nodeFileSystem.readFile(file);
      },
      removeFile: (file) => {
        if (file.includes("/late-0/") && file.endsWith(".log")) steps.push("a segment of the last topic");
        return nodeFileSystem.removeFile(file);
      },
    });
    const run = await openRun({ segmentBytes: 500 }, { fileSystem });
    await run.append(...hourly(20));
    await run.log.createTopic("late", { partitions: 1, retentionBytes: 1000, segmentBytes: 500 });
    for (let n = 0; n < 20; n++) await run.log.append(producer, "late", 0, n, [record("x".repeat(80))]);
    steps.length = 0;
    await run.log.maintain();
    expect(steps[0]).toBe("a segment of the last topic");
    expect(steps).toContain("an index of the first topic");
    await run.log.close();
  });

  test("a reader that sleeps in a segment while it goes is told so, and can go on at the start", async () => {
    const run = await openRun({ retentionMs: UNLIMITED, segmentBytes: 500 });
    await run.append(...hourly(20));
    await run.reader.read(0, 1);
    await run.log.deleteRecords("t", 0, 17);
    await expect(run.reader.read(1, 1000)).rejects.toEqual(code("OFFSET_OUT_OF_RANGE"));
    expect((await readFrom(run.reader, 17)).map(({ offset }) => offset)).toEqual([17, 18, 19]);
    await run.log.close();
  });
});

describe("deleting records", () => {
  test("outlives a loss of power once it resolved, whatever the policy", async () => {
    for (const sync of [{ kind: "always" }, { kind: "never" }] as const) {
      let fileSystem = new SimulatedFileSystem({ seed: 7 });
      const catalog = new MemoryCatalog();
      const run = await openRun({ sync, segmentBytes: 500, retentionMs: UNLIMITED }, { fileSystem, directory: "/data", catalog });
      await run.append(...hourly(20));
      expect(await run.log.deleteRecords("t", 0, 13)).toBe(13);
      expect(await run.log.deleteRecords("t", 0, 5)).toBe(13);
      await expect(run.log.deleteRecords("t", 0, 21)).rejects.toEqual(code("OFFSET_OUT_OF_RANGE"));
      fileSystem = fileSystem.crash();
      const again = await openRun({}, { ...run.options, fileSystem });
      expect(again.reader.startOffset()).toBe(13);
      expect((await readFrom(again.reader, 13)).length).toBe(7);
      expect(await again.log.deleteRecords("t", 0, 20)).toBe(20);
      expect(await again.reader.read(20, 100)).toHaveLength(0);
      await again.append(["after", 0]);
      expect(valuesOf(await readFrom(again.reader, 20))).toEqual(["after"]);
      await again.log.close();
    }
  });
});

describe("a search by time", () => {
  test("finds the first record that is not earlier, over segments, whatever the order of the times", async () => {
    const run = await openRun({ segmentBytes: 2000, retentionMs: UNLIMITED });
    const times = Array.from({ length: 300 }, (_, i) => (i * 7919) % 1000);
    await run.append(...times.map((timestamp, i): [string, number] => [`${i}`, timestamp + i]));
    const stored = await readFrom(run.reader, 0);
    const check = async (from: number): Promise<void> => {
      for (let timestamp = 0; timestamp < 1400; timestamp += 13) {
        const first = stored.find((one) => one.offset >= from && one.timestamp >= timestamp);
        expect(await run.reader.offsetForTimestamp(timestamp)).toEqual(first && { offset: first.offset, timestamp: first.timestamp });
      }
    };
    await check(0);
    await run.log.deleteRecords("t", 0, 151);
    await check(151);
    const folder = path.join(run.options.directory, "t-0");
    for (const name of await readdir(folder)) if (name.endsWith(".timeindex")) await writeFile(path.join(folder, name), "damaged");
    await check(151);
    await run.log.close();
  });

  test("finds what is kept when retention takes the files that it began with", async () => {
    let meanwhile: (() => Promise<unknown>) | undefined;
    const fileSystem = changed(nodeFileSystem, {
      open: async (name, mode) => {
        const now = meanwhile;
        if (mode === "read") meanwhile = undefined;
        if (mode === "read") await now?.();
        return nodeFileSystem.open(name, mode);
      },
    });
    const run = await openRun({ segmentBytes: 500, retentionMs: UNLIMITED }, { fileSystem });
    await run.append(...hourly(20));
    const segments = (await segmentsOf(run)).length;
    meanwhile = () => run.log.deleteRecords("t", 0, 13);
    expect(await run.reader.offsetForTimestamp(0)).toEqual({ offset: 13, timestamp: 13 * hour });
    expect((await segmentsOf(run)).length).toBeLessThan(segments);
    await run.log.close();
  });
});

describe("a segment", () => {
  test("takes nothing that is later than its first record by more than segment.ms", async () => {
    const run = await openRun({ segmentMs: 3 * hour, retentionMs: UNLIMITED });
    await run.append(...hourly(9));
    expect(await segmentsOf(run)).toEqual([0, 4, 8].map((base) => `${String(base).padStart(20, "0")}.log`));
    await run.log.close();
  });
});

/** Notes which files are opened, and which folders listed. */
const noting = (opened: string[]): FileSystem =>
  changed(nodeFileSystem, {
    open: (name, mode) => {
      opened.push(name);
      return nodeFileSystem.open(name, mode);
    },
    list: (folder) => {
      opened.push(folder);
      return nodeFileSystem.list(folder);
    },
  });

describe("many partitions", () => {
  test("are there after a clean end without a file being opened", async () => {
    const directory = await temporaryFolder();
    const run = await openRun({ partitions: 50, segmentBytes: 500 }, { directory });
    await run.append(...hourly(20));
    await run.log.close();
    const opened: string[] = [];
    const log = await openEmbeddedLog({ ...run.options, fileSystem: noting(opened) });
    expect([...new Set(opened)]).toEqual([directory]);
    expect(log.topic("t")?.endOffset(0)).toBe(20);
    expect(log.topic("t")?.highWatermark(0)).toBe(20);
    const reader = await log.openReader((await log.describeTopic("t"))?.partitions[0] as never);
    expect((await readFrom(reader, 0)).length).toBe(20);
    await log.close();
  });

  test("hold a limited number of files open, in whatever order they are used", async () => {
    let open = 0;
    let most = 0;
    const fileSystem = changed(nodeFileSystem, {
      open: async (name, mode) => {
        const file = await nodeFileSystem.open(name, mode);
        most = Math.max(most, ++open);
        const close = file.close.bind(file);
        return Object.assign(file, { close: () => (open--, close()) } satisfies Partial<File>);
      },
    });
    const run = await openRun({ partitions: 60 }, { fileSystem, openMax: 10 });
    const readers = await Promise.all(run.topic.description.partitions.map((descriptor) => run.log.openReader(descriptor)));
    for (let round = 0; round < 3; round++) {
      for (let partition = 0; partition < 60; partition++) {
        const at = (partition * 37) % 60;
        await run.log.append(producer, "t", at, round, [record(`${round}`)]);
        expect(valuesOf(await readFrom(readers[at] as PartitionReader, 0)).length).toBe(round + 1);
      }
    }
    expect(most).toBeLessThanOrEqual(3 * 12 + 6);
    await run.log.close();
    for (const reader of readers) await reader.close();
    expect(open).toBe(0);
  });

  test("that are not used for a while are put to rest, and go on when they are used again", async () => {
    const run = await openRun({ retentionMs: UNLIMITED });
    await run.append(["one", 1]);
    await run.log.maintain();
    await run.log.maintain();
    const entry = (): unknown => (run.options.catalog as MemoryCatalog).entries.get("partition:t-0");
    await until("the partition is at rest", () => (entry() as { clean: boolean }).clean);
    expect(entry()).toMatchObject({ clean: true, next: 1 });
    await run.append(["two", 2]);
    expect(entry()).toMatchObject({ clean: false });
    expect(valuesOf(await readFrom(run.reader, 0))).toEqual(["one", "two"]);
    await run.log.close();
  });
});
