import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import type { PartitionDescriptor } from "../../src/log/contract/partitionedLog.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { batchPositions } from "../../src/record/batch.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { contentOf, end, folderOf, openRun, roll, within } from "./compactedTopic.ts";
import { MemoryCatalog, readFrom, record } from "./support.ts";
import { batchesFrom } from "./transactionSupport.ts";

describe("a compacted topic in trouble", () => {
  test("is left as it is by a compaction for which the disk is full or fails, which is made again later", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 1 });
    const run = await openRun({}, { fileSystem, directory: "/data", catalog: new MemoryCatalog() });
    for (let i = 0; i < 30; i++) await run.put(`${i % 3}=${i}`);
    await roll(run);
    const before = await contentOf(run);
    const faults = [
      { op: "write", code: "ENOSPC", path: ".cleaned" },
      { op: "sync", code: "EIO", path: ".cleaned" },
      { op: "open", code: "EMFILE", path: ".cleaned" },
      { op: "read", code: "EIO", path: "0000.log" },
    ] as const;
    for (const fault of faults) {
      fileSystem.failNext(fault);
      await run.log.maintain();
      expect(await contentOf(run)).toEqual(before);
      expect((await fileSystem.list("/data/t-0")).filter((name) => name.includes("cleaned"))).toEqual([]);
      await run.put(`other=${fault.op}`);
      before.push(`${run.reader.highWatermark() - 1} other=${fault.op}`);
    }
    await run.log.maintain();
    expect((await contentOf(run)).length).toBeLessThan(12);
    await run.log.close();
  });

  test("with a flipped bit is not compacted, so that no good record is lost with the bad one", async () => {
    const run = await openRun({});
    for (let i = 0; i < 30; i++) await run.put(`${i % 3}=${i}`);
    await roll(run);
    const first = path.join(folderOf(run), "00000000000000000000.log");
    const bytes = await readFile(first);
    const last = [...batchPositions(bytes)].at(-1) as number;
    // in a record, and in offsets: a gap is legal here, so only their own checksum tells
    for (const position of [100, 3, 7, last + 2, last + 7]) {
      const flipped = Buffer.from(bytes);
      flipped[position] = (flipped[position] as number) ^ 1;
      await writeFile(first, flipped);
      await run.log.maintain();
      expect([position, await readFile(first)]).toEqual([position, flipped]);
    }
    await run.log.close();
  });

  test("is read to where a transaction is open again whose marker is damaged, and cut off as what a crash left", async () => {
    const before = new SimulatedFileSystem({ seed: 1 });
    const config = { sync: { kind: "interval", ms: 1 } } as const;
    const catalog = new MemoryCatalog();
    const run = await openRun(config, { fileSystem: before, directory: "/data", catalog });
    await run.put("a=0");
    await run.put("k=1");
    await within(run, 7n, 0, "t", "x".repeat(200)); // the last of its segment
    await run.put(`k=2${"x".repeat(200)}`);
    await roll(run);
    const markerOffset = await end(run, 7n, "abort");
    await run.log.maintain();
    const active = `/data/t-0/${before
      .files("/data/t-0")
      .filter((file) => file.endsWith(".log"))
      .map((file) => path.basename(file))
      .sort()
      .at(-1)}`;
    before.flip(active, (before.peek(active) as Buffer).length - 1, 1);
    const again = await openRun(config, { fileSystem: before.kill(), directory: "/data", catalog });
    expect(again.reader.highWatermark()).toBe(markerOffset);
    const partition = (await again.log.describeTopic("t"))?.partitions[0];
    const committed = await again.log.openReader(partition as PartitionDescriptor, { isolation: "read_committed" });
    expect(committed.highWatermark()).toBe(2);
    expect(await batchesFrom(committed, 0)).toEqual([expect.stringMatching(/^0 .*: 0$/), "1 empty"]);
    await end(again, 7n, "abort");
    expect((await readFrom(committed, 2)).length).toBe(2);
    await again.log.close();
  });

  test("stops for a close, a deletion and a delete of records, and goes on after the next start", async () => {
    const run = await openRun({ cleanupPolicy: "compact,delete", segmentBytes: 100_000, maxMessageBytes: 20_000 });
    for (let i = 0; i < 3000; i++) run.topic.append(0, record(`${i} ${"x".repeat(100)}`, { key: Buffer.from(`${i % 50}`) }), undefined);
    await run.log.sync("t");
    const maintained = run.log.maintain();
    expect(await run.log.deleteRecords("t", 0, 5)).toBe(5);
    const again = run.log.maintain();
    await run.log.close();
    await Promise.all([maintained, again]);
    const next = await openRun({ cleanupPolicy: "compact,delete", segmentBytes: 100_000, maxMessageBytes: 20_000 }, run.options);
    await next.log.maintain();
    const left = await readFrom(next.reader, next.reader.startOffset());
    expect(left.length).toBeLessThan(2000);
    expect(new Set(left.map(({ key }) => String(key))).size).toBe(50);
    const deleting = next.log.maintain();
    await next.log.deleteTopic("t");
    await deleting;
    expect(await readdir(next.options.directory)).toEqual([]);
    await next.log.close();
  });

  test("whose process was killed while segments were replaced is not called damaged, and is told from one that is", async () => {
    const run = await openRun({ segmentBytes: 2000 });
    for (let i = 0; i < 60; i++) await run.put(`${i % 7}=${i} ${"x".repeat(50)}`);
    await run.log.maintain(); // what it leaves is small: the next one makes one segment of several
    for (let i = 0; i < 60; i++) await run.put(`${i % 7}=${i} ${"x".repeat(50)}`);
    await run.log.close();
    const folder = folderOf(run);
    const before = new Map<string, Buffer>();
    for (const name of await readdir(folder)) before.set(name, await readFile(path.join(folder, name)));
    const again = await openRun({ segmentBytes: 2000 }, run.options);
    await again.log.maintain();
    await again.log.close();
    const left = new Set(await readdir(folder));
    for (const [name, bytes] of before) if (!left.has(name)) await writeFile(path.join(folder, name), bytes);
    const kinds = async (): Promise<string[]> =>
      (await verifyLog(nodeFileSystem, run.options.directory, () => undefined)).problems.map(({ kind }) => kind);
    expect(await kinds()).toEqual(["surplus"]); // the new one has its name, and the others behind it are still there
    const log = path.join(folder, "00000000000000000000.log");
    const whole = await readFile(log);
    await rename(log.replace(".log", ".index"), log.replace(".log", ".index.cleaned"));
    await writeFile(log, before.get(path.basename(log)) as Buffer);
    expect(await kinds()).toEqual(["unfinished"]); // the old indexes are gone, the new ones have not their names
    whole[40] = (whole[40] as number) ^ 1;
    await writeFile(log, whole);
    expect(await kinds()).toContain("batch");
    await rm(folder, { recursive: true });
  });
});
