import { describe, expect, test } from "vitest";
import { systemClock, type Timer } from "../../src/base/clock.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { encodeBatch, records } from "../../src/record/batch.ts";
import { changed } from "../support/changed.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { appendOneByOne, numbers, openWithTopic, producer, readAll, record, smallDefaults, valuesOf } from "./support.ts";

test("a reader gets nothing that is written and not yet durable", async () => {
  let gate = Promise.resolve();
  const syncs: string[] = [];
  const fileSystem = changed(nodeFileSystem, {
    open: async (name, mode) => {
      const file = await nodeFileSystem.open(name, mode);
      const sync = file.sync.bind(file);
      file.sync = async () => {
        syncs.push(name);
        await gate;
        await sync();
      };
      file.writeSynced = async (from, offset, length, position) => {
        await file.write(from, offset, length, position);
        await file.sync();
      };
      return file;
    },
  });
  const { log, topic } = await openWithTopic({ fileSystem });
  await appendOneByOne(log, ["durable"]);
  const reader = await log.openReader(topic.description.partitions[0] as never);
  const opens: (() => void)[] = [];
  gate = new Promise((resolve) => void opens.push(resolve));
  const before = syncs.length;
  const pending = log.append(producer, "t", 0, 1, [record("in the page cache")]);
  while (syncs.length === before) await new Promise((resolve) => setImmediate(resolve));
  expect(reader.highWatermark()).toBe(1);
  expect(valuesOf([...records(await reader.read(0, 1 << 20))])).toEqual(["durable"]);
  opens[0]?.();
  await pending;
  expect(valuesOf([...records(await reader.read(0, 1 << 20))])).toEqual(["durable", "in the page cache"]);
  await reader.close();
  await log.close();
});

describe("the sync policy", () => {
  test("always: large batches that go in one flush, in a write each, all outlive a loss of power", async () => {
    const values = Array.from({ length: 4 }, (_, n) => `${n}`.padEnd(70_000, "x"));
    for (let seed = 0; seed < 10; seed++) {
      const fileSystem = new SimulatedFileSystem({ seed, turnsMax: 3 });
      const defaults = { ...smallDefaults, segmentBytes: 1 << 20, maxMessageBytes: 1 << 20, sync: { kind: "always" } } as const;
      const { topic, options } = await openWithTopic({ fileSystem, directory: "/data", defaults });
      await Promise.all(values.map((value) => topic.appendBatch(0, encodeBatch([record(value)]))));
      const log = await openEmbeddedLog({ ...options, fileSystem: fileSystem.crash() });
      expect(await readAll(log)).toEqual(values);
      await log.close();
    }
  });

  test("interval confirms after the write, and syncs once when the time has come", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 1 });
    const timers: (() => void)[] = [];
    const after = (_delayMs: number, then: () => void): Timer => {
      timers.push(then);
      return { cancel: () => undefined };
    };
    const defaults = { ...smallDefaults, sync: { kind: "interval", ms: 50 } } as const;
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data", clock: { ...systemClock, after }, defaults });
    const before = fileSystem.syncs.file;
    await appendOneByOne(log, numbers(10));
    expect(topic.highWatermark(0)).toBe(10);
    expect(fileSystem.syncs.file).toBe(before);
    expect(timers).toHaveLength(2); // the other one is the maintenance's
    timers[1]?.();
    await log.sync("t");
    expect(fileSystem.syncs.file).toBe(before + 1);
    await log.close();
  });

  test("never syncs only when asked, and at the end", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 1 });
    const { log } = await openWithTopic({ fileSystem, directory: "/data", defaults: { ...smallDefaults, sync: { kind: "never" } } });
    const before = fileSystem.syncs.file;
    await appendOneByOne(log, numbers(10));
    expect(fileSystem.syncs.file).toBe(before);
    await log.sync("t");
    expect(fileSystem.syncs.file).toBe(before + 1);
    await appendOneByOne(log, ["last"], 10);
    await log.close();
    expect(fileSystem.syncs.file).toBe(before + 4); // with both indexes, for a start that reads nothing
  });
});
