import { describe, expect, test } from "vitest";
import { silentLogger } from "../../src/base/logger.ts";
import type { EmbeddedLog } from "../../src/log/contract/embeddedLog.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { appendOneByOne, openWithTopic, producer, record, smallDefaults } from "./support.ts";
import { end, producerBatch, recordsFrom } from "./transactionSupport.ts";

const turns = async (count: number): Promise<void> => {
  for (let n = 0; n < count; n++) await new Promise((resolve) => setImmediate(resolve));
};

async function committedValues(log: EmbeddedLog): Promise<string[]> {
  const [descriptor] = log.topic("t")?.description.partitions ?? [];
  const reader = await log.openReader(descriptor as NonNullable<typeof descriptor>, { isolation: "read_committed" });
  const found = await recordsFrom(reader, 0);
  await reader.close();
  return found.map(([, value]) => value);
}

async function expectSound(fileSystem: SimulatedFileSystem): Promise<void> {
  expect(fileSystem.openFiles()).toEqual([]);
  expect((await verifyLog(fileSystem, "/data", () => undefined)).problems).toEqual([]);
}

describe("a disk that fails when files are closed", () => {
  for (const suffix of [".log", ".index", ".timeindex", ".txnindex"]) {
    test(`records are confirmed, ${suffix} fails to close when the partition rests, and one more comes: all are there`, async () => {
      const warned: string[] = [];
      const logger = { ...silentLogger, warn: (message: string) => void warned.push(message) };
      const fileSystem = new SimulatedFileSystem({ seed: 3 });
      const { log, topic } = await openWithTopic({ fileSystem, directory: "/data", logger });
      await appendOneByOne(log, ["one", "two", "three"]);
      await topic.appendBatch(0, producerBatch(["aborted"], { id: 7, epoch: 0, sequence: 0 }, true));
      await end(topic, "abort", 7);
      fileSystem.failNext({ op: "close", code: "EIO", path: suffix });
      await log.maintain();
      await log.maintain();
      await turns(200);
      expect(fileSystem.openFiles()).toEqual([]);
      expect(warned).toEqual(["could not close what is not needed any more"]);
      await log.append(producer, "t", 0, 3, [record("four")]);
      expect(await committedValues(log)).toEqual(["one", "two", "three", "four"]);
      await log.close();
      await expectSound(fileSystem);
    });
  }

  test("a partition rolls and rests again and again, and one of its files fails to close, whichever: nothing is lost, and nobody is told of a failure", async () => {
    for (const suffix of [".log", ".index", ".timeindex"]) {
      for (let nth = 1; nth <= 6; nth++) {
        const fileSystem = new SimulatedFileSystem({ seed: nth, turnsMax: 0 });
        const defaults = { ...smallDefaults, segmentBytes: 2000 };
        const { log } = await openWithTopic({ fileSystem, directory: "/data", defaults });
        const values = Array.from({ length: 24 }, (_, i) => `${i} ${"x".repeat(200)}`);
        for (const [i, value] of values.entries()) {
          if (i === nth) fileSystem.failNext({ op: "close", code: "EIO", path: suffix });
          await log.append(producer, "t", 0, i, [record(value)]);
          if (i % 5 !== 3) continue;
          await log.maintain();
          await log.maintain();
        }
        expect(await committedValues(log)).toEqual(values);
        await log.close();
        await expectSound(fileSystem);
      }
    }
  });
});
