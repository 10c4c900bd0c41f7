import { describe, expect, test } from "vitest";
import { systemClock, type Timer } from "../../src/base/clock.ts";
import type { TopicConfig } from "../../src/log/contract/partitionedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { batchPositions, records } from "../../src/record/batch.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { appendOneByOne, code, openWithTopic, producer, readAll, readFrom, receipt, record, smallDefaults, valuesOf } from "./support.ts";

/** Time comes to the timers that are set, and what they begin has ended when this resolves. */
async function fire(timers: (() => void)[]): Promise<void> {
  for (const timer of timers.splice(0)) timer();
  for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe("a partition whose disk fails", () => {
  test("fails what was in flight when a write or sync fails, and goes on in a new file by itself", async () => {
    for (const op of ["write", "sync"] as const) {
      const fileSystem = new SimulatedFileSystem({ seed: 3, turnsMax: 40 });
      const { log, topic } = await openWithTopic({ fileSystem, directory: "/data", defaults: { ...smallDefaults, partitions: 2 } });
      const cuts: [number, number][] = [];
      topic.onCut((partition, offset) => cuts.push([partition, offset]));
      await log.append(producer, "t", 0, 0, [record("before")]);
      fileSystem.failNext({ op, code: "EIO", path: "t-0/00000000000000000000.log" });
      const [inFlight, next] = [receipt(), receipt()];
      topic.append(0, record("in flight"), inFlight.receipt);
      inFlight.receipt.seal();
      await new Promise((resolve) => setImmediate(resolve));
      topic.append(0, record("next"), next.receipt);
      next.receipt.seal();
      expect(await inFlight.settled).toEqual(code("LOG_FAILED"));
      expect(await next.settled).toEqual(code("LOG_FAILED"));
      expect(cuts).toEqual([[0, 1]]);
      expect(topic.endOffset(0)).toBe(1);
      expect((await fileSystem.list("/data/t-0")).toSorted()).toContain("00000000000000000001.log");
      await log.append(producer, "t", 0, 1, [record("after")]);
      await log.append(producer, "t", 1, 0, [record("elsewhere")]);
      expect(await readAll(log, 0)).toEqual(["before", "after"]);
      expect(await readAll(log, 1)).toEqual(["elsewhere"]);
      await log.close();
      expect((await verifyLog(fileSystem, "/data", () => undefined)).problems).toEqual([]);
    }
  });

  test("takes nothing while the disk fails, reads on, and takes again when it works", async () => {
    const timers: (() => void)[] = [];
    const clock = { ...systemClock, after: (_ms: number, then: () => void): Timer => (timers.push(then), { cancel: () => undefined }) };
    const fileSystem = new SimulatedFileSystem({ seed: 3 });
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data", clock });
    await log.append(producer, "t", 0, 0, [record("before")]);
    for (const op of ["sync", "truncate", "open"] as const)
      fileSystem.failNext({ op, code: "EIO", path: "t-0", times: Number.POSITIVE_INFINITY });
    const reader = await log.openReader(topic.description.partitions[0] as never);
    await expect(log.append(producer, "t", 0, 1, [record("lost")])).rejects.toEqual(code("LOG_FAILED"));
    expect(() => topic.append(0, record("later"), undefined)).toThrow(expect.objectContaining({ code: "LOG_FAILED", retryable: true }));
    await expect(log.sync("t")).rejects.toEqual(code("LOG_FAILED"));
    await expect(log.producerState("p", "t", 0)).rejects.toEqual(code("LOG_FAILED"));
    const duplicate = receipt();
    topic.joinPending(0, duplicate.receipt);
    duplicate.receipt.seal();
    expect(await duplicate.settled).toEqual(code("LOG_FAILED"));
    await expect(reader.read(0, 1000)).rejects.toEqual(code("LOG_READ_FAILED"));
    fileSystem.heal();
    expect(valuesOf([...records(await reader.read(0, 1000))])).toEqual(["before"]);
    await fire(timers);
    await log.append(producer, "t", 0, 1, [record("after")]);
    expect(await readAll(log)).toEqual(["before", "after"]);
    await reader.close();
    await log.close();
  });

  test("keeps a reserve on the disk: appends are refused before it is full, the rest goes on, and appends resume", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 3 });
    let now = 0;
    const timers: (() => void)[] = [];
    const clock = {
      now: () => 5000,
      monotonicMs: () => (now += 2000),
      after: (_ms: number, then: () => void): Timer => (timers.push(then), { cancel: () => undefined }),
    };
    const defaults = { ...smallDefaults, segmentBytes: 5000 };
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data", clock, defaults, diskReserveBytes: 10_000 });
    fileSystem.limitDisk(100_000);
    const kept: string[] = [];
    const refusals: Error[] = [];
    while (refusals.length === 0) {
      const value = `${kept.length} ${"x".repeat(900)}`;
      await log.append(producer, "t", 0, kept.length, [record(value)]).then(
        () => void kept.push(value),
        (error: Error) => void refusals.push(error),
      );
    }
    expect(refusals).toEqual([code("LOG_DISK_FULL")]);
    expect(await fileSystem.freeBytes()).toBeGreaterThanOrEqual(9000);
    expect(() => topic.append(0, record("x"), undefined)).toThrow(expect.objectContaining({ code: "LOG_DISK_FULL", retryable: true }));
    expect(await readAll(log)).toEqual(kept);
    await fire(timers);
    await expect(log.append(producer, "t", 0, kept.length, [record(`still full ${"x".repeat(900)}`)])).rejects.toEqual(
      code("LOG_DISK_FULL"),
    );
    await log.deleteRecords("t", 0, 50);
    await fire(timers);
    await log.append(producer, "t", 0, kept.length, [record("room again")]);
    const reader = await log.openReader(topic.description.partitions[0] as never);
    expect(valuesOf(await readFrom(reader, 50))).toEqual([...kept.slice(50), "room again"]);
    await reader.close();
    await log.close();
  });

  test("does not try its disk again while its files are put away for those of another", async () => {
    // whenever the time comes: from before the files begin to rest until they are at rest
    for (let turns = 0; turns < 60; turns += 2) {
      let now = 0;
      const timers: (() => void)[] = [];
      const clock = {
        now: () => 5000,
        monotonicMs: () => (now += 2000),
        after: (_ms: number, then: () => void): Timer => (timers.push(then), { cancel: () => undefined }),
      };
      const fileSystem = new SimulatedFileSystem({ seed: 3, turnsMax: 4 });
      const defaults: TopicConfig = { ...smallDefaults, partitions: 2, sync: { kind: "never" } };
      const { log } = await openWithTopic({ fileSystem, directory: "/data", clock, defaults, openMax: 1, diskReserveBytes: 1000 });
      await log.append(producer, "t", 1, 0, [record("elsewhere")]);
      await appendOneByOne(log, ["a", "b"]);
      timers.length = 0;
      fileSystem.limitDisk(fileSystem.usedBytes() + 500);
      await expect(log.append(producer, "t", 0, 2, [record("no room")])).rejects.toEqual(code("LOG_DISK_FULL"));
      fileSystem.limitDisk(undefined);
      const other = log.append(producer, "t", 1, 1, [record("elsewhere too")]);
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
      await fire(timers);
      await other;
      expect(await readAll(log)).toEqual(["a", "b"]);
      await log.append(producer, "t", 0, 2, [record("c")]);
      expect(await readAll(log)).toEqual(["a", "b", "c"]);
      await log.close();
      expect((await verifyLog(fileSystem, "/data", () => undefined)).problems).toEqual([]);
    }
  });
});

describe("what a disk left where nothing should be", () => {
  const first = "/data/t-0/00000000000000000000.log";

  test("a search by time passes over the rest of a write that failed, in a segment that was gone on from in another", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 3 });
    const { log, topic, options } = await openWithTopic({ fileSystem, directory: "/data" });
    await log.append(producer, "t", 0, 0, [record("before", { timestamp: 1000 })]);
    fileSystem.failNext({ op: "write", code: "EIO", path: first });
    await expect(log.append(producer, "t", 0, 1, [record("lost")])).rejects.toEqual(code("LOG_FAILED"));
    await log.append(producer, "t", 0, 1, [record("after", { timestamp: 3000 })]);
    await log.close();
    // the cut was taken back by a loss of power, and of the write there are zeros
    const bytes = (fileSystem.peek(first) as Buffer).length;
    const file = await fileSystem.open(first, "write");
    await file.write(Buffer.alloc(300), 0, 300, bytes);
    await file.close();
    for (const name of ["index", "timeindex"]) await fileSystem.removeFile(first.replace(/log$/, name));
    const again = await openEmbeddedLog(options);
    const reader = await again.openReader(topic.description.partitions[0] as never);
    expect(await reader.offsetForTimestamp(1000)).toEqual({ offset: 0, timestamp: 1000 });
    expect(await reader.offsetForTimestamp(2000)).toEqual({ offset: 1, timestamp: 3000 });
    expect(await reader.offsetForTimestamp(4000)).toBeUndefined();
    await reader.close();
    await again.close();
  });

  test("a reader that seeks past a batch whose offset a flipped bit has changed says where it is, and serves what is before it", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 3 });
    const { log, topic, options } = await openWithTopic({ fileSystem, directory: "/data" });
    await appendOneByOne(log, ["a", "b", "c", "d"]);
    await log.close();
    const [, second] = [...batchPositions(fileSystem.peek(first) as Buffer)] as [number, number];
    fileSystem.flip(first, second + 7, 8); // offset 1 says that it is 9
    const again = await openEmbeddedLog(options);
    for (const offset of [2, 3]) {
      const reader = await again.openReader(topic.description.partitions[0] as never);
      const reading = reader.read(offset, 1000);
      await expect(reading).rejects.toEqual(code("LOG_CORRUPT"));
      await expect(reading).rejects.toThrow(expect.objectContaining({ where: expect.stringContaining(`${first} at byte ${second}`) }));
      await reader.close();
    }
    const reader = await again.openReader(topic.description.partitions[0] as never);
    expect(valuesOf([...records(await reader.read(0, 1))])).toEqual(["a"]);
    await reader.close();
    await again.close();
  });
});
