import { readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import type { MillraceError } from "../../src/base/errors.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { dumpLog } from "../../src/log/tools/dumpLog.ts";
import { repairLog } from "../../src/log/tools/repairLog.ts";
import { PartitionTail, type TailStart, topicFolders } from "../../src/log/tools/tailLog.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { batchPositions } from "../../src/record/batch.ts";
import { batchBytesAt } from "../../src/record/batchHeader.ts";
import { logOptions, readFrom, record, smallDefaults, temporaryFolder } from "./support.ts";

const nothing = (): void => undefined;

async function written() {
  const options = logOptions(await temporaryFolder(), { defaults: { ...smallDefaults, segmentBytes: 6000 } });
  const log = await openEmbeddedLog(options);
  await log.createTopic("t");
  for (let i = 0; i < 95; i++) await log.append({ name: "p", epoch: 0 }, "t", 0, i, [record(`value ${i} ${"x".repeat(100)}`)]);
  await log.close();
  const folder = path.join(options.directory, "t-0");
  const segments = (await readdir(folder)).filter((name) => name.endsWith(".log")).toSorted();
  return { options, folder, first: path.join(folder, segments[0] as string), last: path.join(folder, segments.at(-1) as string), segments };
}

async function flip(file: string, position: number): Promise<void> {
  const bytes = await readFile(file);
  bytes[position] = (bytes[position] as number) ^ 4;
  await writeFile(file, bytes);
}

const problemsOf = async (directory: string): Promise<[string, string, number][]> =>
  (await verifyLog(nodeFileSystem, directory, nothing)).problems.map(({ kind, file, position }) => [kind, file, position]);

describe("verify", () => {
  test("finds nothing in a whole log, and reports its progress to the end", async () => {
    const { options, segments } = await written();
    const seen: number[] = [];
    const verified = await verifyLog(nodeFileSystem, options.directory, (bytes, total) => seen.push(bytes / total));
    expect(verified).toMatchObject({ partitions: 1, segments: segments.length, batches: 95, problems: [] });
    expect(seen.at(-1)).toBe(1);
  });

  test("finds a flipped bit wherever it is, and names file and position of the batch", async () => {
    const { options, first } = await written();
    const bytes = await readFile(first);
    const positions = [...batchPositions(bytes)];
    for (let bit = 0; bit < 60; bit++) {
      const at = (bit * 7919) % bytes.length;
      const batch = positions.findLast((position) => position <= at) as number;
      await flip(first, at);
      expect(await problemsOf(options.directory), `byte ${at}`).toContainEqual(["batch", first, batch]);
      await writeFile(first, bytes);
    }
  });

  test("tells a torn end from damage with good batches behind it, and finds missing segments and bad indexes", async () => {
    const { options, folder, last, first, segments } = await written();
    const bytes = await readFile(last);
    const positions = [...batchPositions(bytes)];
    await flip(last, (positions[0] as number) + 70);
    expect(await problemsOf(options.directory)).toEqual([["batch", last, 0]]);
    await writeFile(last, bytes.subarray(0, bytes.length - 1));
    // that it had been synced only the snapshot of a clean end can tell
    expect(await problemsOf(options.directory)).toEqual([["batch", last, positions.at(-1)]]);
    for (const name of await readdir(folder)) if (Number.parseInt(name, 10) > 90) await rm(path.join(folder, name));
    expect(await problemsOf(options.directory)).toEqual([["tail", last, positions.at(-1)]]);
    await writeFile(last, bytes);
    await writeFile(first.replace(".log", ".index"), "bad");
    expect(await problemsOf(options.directory)).toEqual([["index", first, 0]]);
    await rm(path.join(folder, segments[1] as string));
    expect((await problemsOf(options.directory)).map(([kind]) => kind)).toContain("missing");
  });
});

const repair = ({ directory, catalog }: EmbeddedLogOptions, cutDamage = false) =>
  repairLog({ fileSystem: nodeFileSystem, directory, catalog, progress: nothing, cutDamage });

describe("repair", () => {
  test("cuts a synced end that is damaged, makes indexes again, and the partition goes on", async () => {
    const { options, last, first } = await written();
    const positions = [...batchPositions(await readFile(last))];
    await truncate(last, ((await stat(last)).size as number) - 3);
    await writeFile(first.replace(".log", ".timeindex"), "bad");
    const { done, left } = await repair(options);
    expect([done.length, left]).toEqual([2, []]);
    expect((await stat(last)).size).toBe(positions.at(-1));
    expect(await problemsOf(options.directory)).toEqual([]);
    const log = await openEmbeddedLog(options);
    expect(await log.producerState("p", "t", 0)).toEqual({ epoch: 0, nextSequence: 94 });
    await log.append({ name: "p", epoch: 0 }, "t", 0, 94, [record("again")]);
    const reader = await log.openReader((await log.describeTopic("t"))?.partitions[0] as never);
    expect((await readFrom(reader, 0)).length).toBe(95);
    await reader.close();
    await log.close();
  });

  test("takes an end that lost whole synced batches as it is: only the catalog misses them", async () => {
    const { options, last } = await written();
    const positions = [...batchPositions(await readFile(last))];
    await truncate(last, positions.at(-2) as number);
    const before = await openEmbeddedLog(options);
    await expect(before.append({ name: "p", epoch: 0 }, "t", 0, 95, [record("next")])).rejects.toMatchObject({ code: "LOG_CORRUPT" });
    await before.close();
    expect(await repair(options)).toMatchObject({
      done: [expect.stringContaining("offsets 93 to 94 were synced and are not there")],
      left: [],
    });
    const log = await openEmbeddedLog(options);
    await log.append({ name: "p", epoch: 0 }, "t", 0, 93, [record("again")]);
    expect(log.topic("t")?.endOffset(0)).toBe(94);
    await log.close();
    expect((await repair(options)).done).toEqual([]);
  });

  test("never cuts where good batches lie behind the bad one", async () => {
    const { options, last, first } = await written();
    for (const file of [first, last]) {
      const bytes = await readFile(file);
      await flip(file, 80);
      const { done, left } = await repair(options);
      expect(done).toEqual([]);
      expect(left.map(({ kind }) => kind)).toContain("batch");
      expect((await stat(file)).size).toBe(bytes.length);
      await writeFile(file, bytes);
    }
  });
});

describe("repair that was told to cut at damage", () => {
  test("ends the partition there, without the segments behind it, and it goes on", async () => {
    const { options, first, segments } = await written();
    const positions = [...batchPositions(await readFile(first))];
    await flip(first, (positions[3] as number) + 70);
    const { done, left } = await repair(options, true);
    expect(left).toEqual([]);
    expect(done).toHaveLength(segments.length);
    expect(await problemsOf(options.directory)).toEqual([]);
    const log = await openEmbeddedLog(options);
    expect(await log.producerState("p", "t", 0)).toEqual({ epoch: 0, nextSequence: 3 });
    await log.append({ name: "p", epoch: 0 }, "t", 0, 3, [record("again")]);
    const reader = await log.openReader((await log.describeTopic("t"))?.partitions[0] as never);
    expect((await readFrom(reader, 0)).map(({ offset }) => offset)).toEqual([0, 1, 2, 3]);
    await reader.close();
    await log.close();
  });

  test("leaves what the next segment has as well: it counts nowhere", async () => {
    const { options, folder, first, segments } = await written();
    const bytes = await readFile(first);
    const next = await readFile(path.join(folder, segments[1] as string));
    await writeFile(first, Buffer.concat([bytes, next.subarray(0, batchBytesAt(next, 0))]));
    expect(await problemsOf(options.directory)).toEqual([["surplus", first, bytes.length]]);
    expect((await repair(options, true)).done).toEqual([]);
  });

  test.each([false, true])("does not bring deleted records back (cutDamage: %s)", async (cutDamage) => {
    const { options, last } = await written();
    const before = await openEmbeddedLog(options);
    const kept = await before.deleteRecords("t", 0, 93);
    await before.close();
    await truncate(last, (await stat(last)).size - 3);
    expect((await repair(options, cutDamage)).done).toHaveLength(1);
    const log = await openEmbeddedLog(options);
    const reader = await log.openReader((await log.describeTopic("t"))?.partitions[0] as never);
    expect([kept, reader.startOffset(), reader.highWatermark()]).toEqual([93, 93, 94]);
    await reader.close();
    await log.close();
  });
});

test("dump prints batches, records if asked, and where it becomes unreadable", async () => {
  const { options, last } = await written();
  await truncate(last, ((await stat(last)).size as number) - 3);
  const lines: string[] = [];
  await dumpLog(
    nodeFileSystem,
    options.directory,
    () => "headers",
    (line) => lines.push(line) > 0,
  );
  expect(lines.filter((line) => line.includes(" records, ")).length).toBe(94);
  expect(lines).toContainEqual(expect.stringContaining('7 null: "value 7 xxx'));
  expect(lines.at(-1)).toMatch(/not whole: 3 bytes are missing/);
  for (const wanted of [1, 2, 3, 50]) {
    const some: string[] = [];
    await dumpLog(
      nodeFileSystem,
      options.directory,
      () => "headers",
      (line) => some.push(line) < wanted,
    );
    expect(some).toEqual(lines.slice(0, wanted));
  }
});

describe("tail", () => {
  const offsetsFrom = async (directory: string, start: TailStart, holes: MillraceError[] = []): Promise<number[]> => {
    const folders = await topicFolders(nodeFileSystem, directory, "t");
    const offsets: number[] = [];
    const tail = new PartitionTail(nodeFileSystem, folders.get(0) as string, start, (hole) => holes.push(hole));
    await tail.read(({ offset }) => offsets.push(offset) > 0);
    return offsets;
  };
  const from = (first: number, end: number): number[] => Array.from({ length: end - first }, (_, n) => first + n);

  test("reads from the beginning, an offset, a time, or the last records, over segments", async () => {
    const options = logOptions(await temporaryFolder(), { defaults: { ...smallDefaults, segmentBytes: 6000 } });
    const log = await openEmbeddedLog(options);
    await log.createTopic("t");
    for (let i = 0; i < 95; i++)
      await log.append({ name: "p", epoch: 0 }, "t", 0, i, [record(`value ${i} ${"x".repeat(100)}`, { timestamp: (i - 5) ** 2 })]);
    expect(await offsetsFrom(options.directory, { at: "beginning" })).toEqual(from(0, 95));
    expect(await offsetsFrom(options.directory, { at: "offset", offset: 77 })).toEqual(from(77, 95));
    expect(await offsetsFrom(options.directory, { at: "last", records: 7 })).toEqual(from(88, 95));
    // the first one that is not earlier, though the one behind it is
    expect(await offsetsFrom(options.directory, { at: "timestamp", timestamp: 16 })).toEqual(from(0, 95));
    expect(await offsetsFrom(options.directory, { at: "timestamp", timestamp: 26 })).toEqual(from(11, 95));
    await log.close();
  });

  test("goes on where it ended when more was written, also in a new segment, and takes no half batch", async () => {
    const { options, last } = await written();
    const whole = await readFile(last);
    await truncate(last, whole.length - 3);
    const tail = new PartitionTail(nodeFileSystem, path.dirname(last), { at: "offset", offset: 90 }, nothing);
    const offsets: number[] = [];
    const read = () => tail.read(({ offset }) => offsets.push(offset) > 0);
    await read();
    expect(offsets).toEqual(from(90, 94));
    await writeFile(last, whole);
    const log = await openEmbeddedLog(options);
    for (let i = 95; i < 150; i++) await log.append({ name: "p", epoch: 0 }, "t", 0, i, [record("x".repeat(100))]);
    await read();
    expect(offsets).toEqual(from(90, 150));
    await log.close();
  });

  test("says which topics there are, and where one is damaged", async () => {
    const { options, first, last } = await written();
    await expect(topicFolders(nodeFileSystem, options.directory, "u")).rejects.toMatchObject({
      code: "TOPIC_NOT_FOUND",
      hint: "The topics here are: t.",
    });
    const bytes = await readFile(first);
    const positions = [...batchPositions(bytes)];
    const lastOne = positions.length - 1;
    await flip(first, 80);
    await flip(first, (positions[lastOne] as number) + 80);
    const holes: MillraceError[] = [];
    const offsets = await offsetsFrom(options.directory, { at: "beginning" }, holes);
    expect(offsets).toEqual(from(0, 95).filter((offset) => offset !== 0 && offset !== lastOne));
    expect(holes).toMatchObject([
      { code: "LOG_CORRUPT", where: `${first} at byte 0`, readableFrom: 1 },
      { code: "LOG_CORRUPT", where: `${first} at byte ${positions[lastOne]}`, readableFrom: lastOne + 1 },
    ]);
    await flip(last, ([...batchPositions(await readFile(last))].at(-1) as number) + 80);
    await expect(offsetsFrom(options.directory, { at: "beginning" })).rejects.toMatchObject({ code: "LOG_CORRUPT" });
  });
});
