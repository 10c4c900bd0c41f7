import { describe, expect, test } from "vitest";
import { systemClock, type Timer } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/logger.ts";
import type { TopicConfig } from "../../src/log/contract/partitionedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { encodeBatch, records } from "../../src/record/batch.ts";
import { changed } from "../support/changed.ts";
import { SimulatedClock } from "../support/simulatedClock.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import {
  appendOneByOne,
  code,
  MemoryCatalog,
  openWithTopic,
  producer,
  readAll,
  readFrom,
  receipt,
  record,
  smallDefaults,
  valuesOf,
} from "./support.ts";
import { producerBatch } from "./transactionSupport.ts";

/** Time comes to the timers that are set, and what they begin has ended when this resolves. */
async function fire(timers: (() => void)[]): Promise<void> {
  for (const timer of timers.splice(0)) timer();
  for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Where an operation stops on its way. */
class Gate {
  reached: () => void = () => undefined;
  open: () => void = () => undefined;
  readonly met = new Promise<void>((resolve) => {
    this.reached = resolve;
  });
  private readonly opened = new Promise<void>((resolve) => {
    this.open = resolve;
  });

  async pass(): Promise<void> {
    this.reached();
    await this.opened;
  }
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

  test("tells a reader of what was not synced that it is out of range, whenever the file is cut under it", async () => {
    const disk = new SimulatedFileSystem({ seed: 9 });
    const gates = new Map<"read" | "truncate", Gate>();
    const pass = async (operation: "read" | "truncate"): Promise<void> => {
      const gate = gates.get(operation);
      gates.delete(operation);
      await gate?.pass();
    };
    const fileSystem = changed(disk, {
      open: async (name, mode) => {
        const file = await disk.open(name, mode);
        if (!name.endsWith(".log")) return file;
        const { read, truncate } = file;
        file.read = async (...args) => {
          if (mode === "read") await pass("read");
          return read.apply(file, args);
        };
        file.truncate = async (bytes) => {
          await truncate.call(file, bytes);
          await pass("truncate");
        };
        return file;
      },
    });
    const defaults = { ...smallDefaults, sync: { kind: "never" } } as const;
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data", defaults });
    await log.append(producer, "t", 0, 0, [record("synced")]);
    await log.sync("t");
    for (let i = 1; i < 5; i++) await log.append(producer, "t", 0, i, [record(`not synced ${i}`)]);
    const [one, two] = [
      await log.openReader(topic.description.partitions[0] as never),
      await log.openReader(topic.description.partitions[0] as never),
    ];
    const [read, cut] = [new Gate(), new Gate()];
    gates.set("read", read).set("truncate", cut);
    const onItsWay = one.read(2, 1000).catch((error: Error) => error);
    await read.met;
    disk.failNext({ op: "sync", code: "EIO", path: ".log" });
    const failed = log.sync("t").catch((error: Error) => error);
    await cut.met;
    expect(await two.read(3, 1000).catch((error: Error) => error)).toEqual(code("OFFSET_OUT_OF_RANGE"));
    read.open();
    expect(await onItsWay).toEqual(code("OFFSET_OUT_OF_RANGE"));
    expect(valuesOf([...records(await two.read(0, 1000))])).toEqual(["synced"]);
    cut.open();
    expect(await failed).toEqual(code("LOG_FAILED"));
    await log.append(producer, "t", 0, 1, [record("after")]);
    expect(await readAll(log)).toEqual(["synced", "after"]);
    await Promise.all([one.close(), two.close()]);
    await log.close();
  });

  test("serves nothing any more of what it said to be cut off, also while the disk does not let it go back", async () => {
    const timers: (() => void)[] = [];
    const clock = { ...systemClock, after: (_ms: number, then: () => void): Timer => (timers.push(then), { cancel: () => undefined }) };
    const fileSystem = new SimulatedFileSystem({ seed: 3 });
    const defaults = { ...smallDefaults, sync: { kind: "never" } } as const;
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data", clock, defaults });
    await log.append(producer, "t", 0, 0, [record("synced")]);
    await log.sync("t");
    await log.append(producer, "t", 0, 1, [record("not synced")]);
    const reader = await log.openReader(topic.description.partitions[0] as never);
    const read = async (): Promise<string[]> => valuesOf([...records(await reader.read(0, 1000))]);
    expect(await read()).toEqual(["synced", "not synced"]);
    const cuts: number[] = [];
    topic.onCut((_, offset) => cuts.push(offset));
    fileSystem.failNext({ op: "sync", code: "EIO", path: ".log" });
    fileSystem.failNext({ op: "list", code: "EIO", path: "t-0", times: Number.POSITIVE_INFINITY });
    await expect(log.sync("t")).rejects.toEqual(code("LOG_FAILED"));
    expect(cuts).toEqual([1]);
    expect(reader.highWatermark()).toBe(1);
    expect(await read()).toEqual(["synced"]);
    fileSystem.heal();
    await fire(timers);
    expect(topic.endOffset(0)).toBe(1);
    await log.append(producer, "t", 0, 1, [record("after")]);
    expect(await read()).toEqual(["synced"]);
    expect(await readAll(log)).toEqual(["synced", "after"]);
    await reader.close();
    await log.close();
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

  test("says where producers stand, and which transactions are open, also while the disk is full", async () => {
    for (const atRest of [false, true]) {
      const fileSystem = new SimulatedFileSystem({ seed: 4 });
      const { log, topic } = await openWithTopic({
        fileSystem,
        directory: "/data",
        clock: new SimulatedClock(0),
        diskReserveBytes: 10_000,
      });
      await log.append(producer, "t", 0, 0, [record("one"), record("two")]);
      await topic.appendBatch(0, producerBatch(["three"], { id: 7, epoch: 0, sequence: 0 }, true));
      fileSystem.limitDisk(fileSystem.usedBytes() + 5000);
      await expect(log.append(producer, "t", 0, 2, [record("x".repeat(6000))])).rejects.toEqual(code("LOG_DISK_FULL"));
      if (atRest) {
        for (let rounds = 0; rounds < 2; rounds++) {
          await log.maintain();
          for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve));
        }
      }
      expect(await log.producerState("p", "t", 0)).toEqual({ epoch: 0, nextSequence: 2 });
      expect(await log.producerState("nobody", "t", 0)).toBeUndefined();
      expect(await topic.openTransactions(0)).toEqual([{ producerId: 7n, epoch: 0, firstOffset: 2 }]);
      const known = receipt();
      topic.joinPending(0, known.receipt);
      known.receipt.seal();
      expect(await known.settled).toBeUndefined();
      await expect(log.append(producer, "t", 0, 2, [record("x")])).rejects.toEqual(code("LOG_DISK_FULL"));
      await log.close();
    }
  });

  for (const retention of [{ retentionBytes: 40_000 }, { retentionMs: 30_000 }]) {
    test(`retention (${Object.keys(retention)}) makes room by itself under publishers that never stop trying`, async () => {
      const fileSystem = new SimulatedFileSystem({ seed: 4 });
      const clock = new SimulatedClock(1_000_000);
      const defaults = { ...smallDefaults, segmentBytes: 5000, ...retention };
      const { log, topic } = await openWithTopic({ fileSystem, directory: "/data", clock, defaults, diskReserveBytes: 10_000 });
      fileSystem.limitDisk(100_000);
      const kept = new Map<number, string>();
      let refused = 0;
      for (let sent = 0; kept.size < 300; sent++) {
        expect(sent, `${kept.size} were taken`).toBeLessThan(10_000);
        const value = `${sent} ${"x".repeat(900)}`;
        const batch = encodeBatch([record(value, { timestamp: clock.now() })]);
        await topic.appendBatch(0, batch).then(
          ({ baseOffset }) => void kept.set(baseOffset, value),
          (error: Error) => {
            expect(error).toEqual(code("LOG_DISK_FULL"));
            refused++;
          },
        );
        clock.advance(100);
        for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
        expect(await fileSystem.freeBytes()).toBeGreaterThanOrEqual(5000);
      }
      expect(refused).toBeGreaterThan(0);
      const reader = await log.openReader(topic.description.partitions[0] as never);
      for (const { offset, value } of await readFrom(reader, reader.startOffset())) expect(String(value)).toBe(kept.get(offset));
      expect(reader.startOffset()).toBeGreaterThan(0);
      await reader.close();
      await log.close();
    });
  }

  test("syncs what it has taken while the disk is full: for who asks at the moment of the refusal, and when the interval is over", async () => {
    let fileSystem = new SimulatedFileSystem({ seed: 5 });
    const clock = new SimulatedClock(1_000_000);
    const defaults = { ...smallDefaults, sync: { kind: "interval", ms: 5000 } } as const;
    const { log, options } = await openWithTopic({ fileSystem, directory: "/data", clock, defaults, diskReserveBytes: 10_000 });
    fileSystem.limitDisk(20_000);
    const large = record("x".repeat(15_000));
    await log.append(producer, "t", 0, 0, [record("first")]);
    const synced = log.append(producer, "t", 0, 1, [large]).catch((error: Error) => {
      expect(error).toEqual(code("LOG_DISK_FULL"));
      return log.sync("t");
    });
    await synced;
    clock.advance(500);
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    await log.append(producer, "t", 0, 1, [record("second")]);
    await expect(log.append(producer, "t", 0, 2, [large])).rejects.toEqual(code("LOG_DISK_FULL"));
    clock.advance(6000);
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    fileSystem = fileSystem.crash();
    const again = await openEmbeddedLog({ ...options, fileSystem });
    expect(await readAll(again)).toEqual(["first", "second"]);
    await again.close();
  });

  test("says once that the disk is full, and once that it has room again", async () => {
    const said: string[] = [];
    const logger = {
      ...silentLogger,
      error: (message: string) => void said.push(message),
      info: (message: string) => void said.push(message),
    };
    const fileSystem = new SimulatedFileSystem({ seed: 5 });
    const clock = new SimulatedClock(1_000_000);
    const { log } = await openWithTopic({ fileSystem, directory: "/data", clock, logger, diskReserveBytes: 10_000 });
    fileSystem.limitDisk(10_000);
    for (let i = 0; i < 20; i++) {
      await expect(log.append(producer, "t", 0, 0, [record("x")])).rejects.toEqual(code("LOG_DISK_FULL"));
      clock.advance(500);
      for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(said).toEqual(["a partition takes nothing for now"]);
    fileSystem.limitDisk(undefined);
    for (let i = 0; i < 3; i++) await log.append(producer, "t", 0, i, [record("x")]);
    expect(said).toEqual(["a partition takes nothing for now", "there is room on the disk again: a partition takes records"]);
    await log.close();
  });

  test.each(["ENOSPC", "EDQUOT"])("calls a disk full that has no room (%s) for a write, or for what it opens", async (full) => {
    for (const op of ["write", "open"] as const) {
      const clock = new SimulatedClock(1_000_000);
      const fileSystem = new SimulatedFileSystem({ seed: 3, turnsMax: 1 });
      const options = { fileSystem, directory: "/data", clock, catalog: new MemoryCatalog() };
      const first = await openWithTopic(options);
      await first.log.append(producer, "t", 0, 0, [record("before")]);
      await first.log.close();
      const { log } = await openWithTopic(options);
      fileSystem.failNext({ op, code: full, path: ".log", times: Number.POSITIVE_INFINITY });
      await expect(log.append(producer, "t", 0, 1, [record("x")]), op).rejects.toEqual(code("LOG_DISK_FULL"));
      fileSystem.heal();
      clock.advance(500);
      for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve));
      await log.append(producer, "t", 0, 1, [record("after")]);
      expect(await readAll(log, 0)).toEqual(["before", "after"]);
      await log.close();
    }
  });

  test("does not compact into the reserve, and compacts when there is room", async () => {
    const warned: string[] = [];
    const logger = { ...silentLogger, warn: (message: string) => void warned.push(message) };
    const fileSystem = new SimulatedFileSystem({ seed: 6 });
    const clock = new SimulatedClock(1_000_000);
    const defaults = { ...smallDefaults, segmentBytes: 5000, cleanupPolicy: "compact" } as const;
    const { log } = await openWithTopic({ fileSystem, directory: "/data", clock, logger, defaults, diskReserveBytes: 10_000 });
    for (let i = 0; i < 30; i++) await log.append(producer, "t", 0, i, [record("x".repeat(900), { key: Buffer.from("one") })]);
    const used = fileSystem.usedBytes();
    fileSystem.limitDisk(used + 9_999);
    clock.advance(2000);
    await log.maintain();
    expect(fileSystem.usedBytes()).toBe(used);
    expect(warned).toEqual([]);
    fileSystem.limitDisk(used + 40_000);
    await log.maintain();
    expect(fileSystem.usedBytes()).toBeLessThan(used / 2);
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

  test("finds no time where all records are deleted and the next segment could not be begun", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 10 });
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data" });
    await log.append(producer, "t", 0, 0, [record("gone")]);
    fileSystem.failNext({ op: "write", code: "EIO", path: ".snapshot", times: Number.POSITIVE_INFINITY });
    expect(await log.deleteRecords("t", 0, 1)).toBe(1);
    const reader = await log.openReader(topic.description.partitions[0] as never);
    expect(await reader.offsetForTimestamp(0)).toBeUndefined();
    fileSystem.heal();
    await reader.close();
    await log.close();
  });
});
