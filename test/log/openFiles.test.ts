import { describe, expect, test } from "vitest";
import { systemClock, type Timer } from "../../src/base/clock.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { appendOneByOne, code, openWithTopic, producer, readAll, record, smallDefaults } from "./support.ts";

const turns = async (count: number): Promise<void> => {
  for (let n = 0; n < count; n++) await new Promise((resolve) => setImmediate(resolve));
};

describe("files that are open", () => {
  for (const [op, path] of [
    ["open", ".log"],
    ["open", ".index"],
    ["open", ".timeindex"],
    ["stat", ".log"],
    ["stat", ".index"],
    ["stat", ".timeindex"],
    ["truncate", ".index"],
    ["truncate", ".timeindex"],
    ["read", ".log"],
  ] as const) {
    test(`an idle partition cannot be opened (EIO on ${op} of ${path}): each append is refused, leaves no file open, and is there when sent again`, async () => {
      const fileSystem = new SimulatedFileSystem({ seed: 7, turnsMax: 0 });
      const { log } = await openWithTopic({ fileSystem, directory: "/data" });
      await appendOneByOne(log, ["one", "two"]);
      await log.maintain();
      await log.maintain();
      await turns(50);
      expect(fileSystem.openFiles()).toEqual([]);
      fileSystem.failNext({ op, code: "EIO", path, times: Number.POSITIVE_INFINITY });
      for (let n = 0; n < 20; n++) {
        await expect(log.append(producer, "t", 0, 2, [record("three")])).rejects.toEqual(code("LOG_NOT_OPENED"));
        expect(fileSystem.openFiles()).toEqual([]);
      }
      fileSystem.heal();
      await log.append(producer, "t", 0, 2, [record("three")]);
      expect(await readAll(log)).toEqual(["one", "two", "three"]);
      await log.close();
      expect(fileSystem.openFiles()).toEqual([]);
    });
  }

  test("a producer that is refused when it sends a confirmed batch again finds it there afterwards, once, kill or not", async () => {
    for (const end of ["none", "kill"] as const) {
      let fileSystem = new SimulatedFileSystem({ seed: 9, turnsMax: 0 });
      const defaults = { ...smallDefaults, sync: { kind: "never" } } as const;
      const first = await openWithTopic({ fileSystem, directory: "/data", defaults });
      let { log } = first;
      await appendOneByOne(log, ["one", "two"]);
      await log.maintain();
      await log.maintain();
      await turns(50);
      expect(fileSystem.openFiles()).toEqual([]);
      fileSystem.failNext({ op: "open", code: "EMFILE", path: ".log", times: Number.POSITIVE_INFINITY });
      const again = log.append(producer, "t", 0, 1, [record("two")]);
      const other = log.append({ name: "other", epoch: 0 }, "t", 0, 0, [record("refused")]);
      await expect(again).rejects.toEqual(code("LOG_NOT_OPENED"));
      await expect(other).rejects.toEqual(code("LOG_NOT_OPENED"));
      fileSystem.heal();
      if (end === "kill") {
        fileSystem = fileSystem.kill();
        log = await openEmbeddedLog({ ...first.options, fileSystem });
      }
      expect(await readAll(log)).toEqual(["one", "two"]);
      await log.append(producer, "t", 0, 1, [record("two")]);
      await log.append(producer, "t", 0, 2, [record("three")]);
      expect(await readAll(log)).toEqual(["one", "two", "three"]);
      await log.close();
    }
  });

  for (const suffix of [".log", ".index", ".timeindex"]) {
    test(`the next segment's ${suffix} cannot be made again and again: no file is left open by a try, and appends go on when it can`, async () => {
      const timers: (() => void)[] = [];
      const clock = { ...systemClock, after: (_ms: number, then: () => void): Timer => (timers.push(then), { cancel: () => undefined }) };
      const fileSystem = new SimulatedFileSystem({ seed: 8, turnsMax: 0 });
      const defaults = { ...smallDefaults, segmentBytes: 2000 };
      const { log } = await openWithTopic({ fileSystem, directory: "/data", clock, defaults });
      await log.append(producer, "t", 0, 0, [record("x".repeat(1500))]);
      fileSystem.failNext({ op: "open", code: "EMFILE", path: suffix, times: Number.POSITIVE_INFINITY });
      for (let n = 0; n < 20; n++) {
        await expect(log.append({ name: `another ${n}`, epoch: 0 }, "t", 0, 0, [record("x".repeat(1500))])).rejects.toThrow();
        for (const fire of timers.splice(0)) fire();
        await turns(50);
        expect(fileSystem.openFiles()).toEqual([]);
      }
      fileSystem.heal();
      for (const fire of timers.splice(0)) fire();
      await turns(50);
      await log.append(producer, "t", 0, 1, [record("after")]);
      expect(await readAll(log)).toEqual(["x".repeat(1500), "after"]);
      await log.close();
      expect(fileSystem.openFiles()).toEqual([]);
    });
  }
});
