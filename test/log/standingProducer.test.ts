import { expect, test } from "vitest";
import { Random } from "../../src/base/random.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { MortalFileSystem } from "../support/mortalFileSystem.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { code, logOptions, openWithTopic, producer, record, smallDefaults } from "./support.ts";

const other = { name: "other", epoch: 0 };
const fill = record("x".repeat(300));

test("a producer whose batches retention removed goes on after a failed sync and a kill", async () => {
  let fileSystem = new SimulatedFileSystem({ seed: 7 });
  const { log, options } = await openWithTopic({ fileSystem, directory: "/data" });
  await log.append(producer, "t", 0, 0, [record("first")]);
  await log.append(producer, "t", 0, 1, [record("second")]);
  fileSystem.failNext({ op: "sync", code: "EIO", path: "t-0/00000000000000000000.log" });
  await expect(log.append(other, "t", 0, 0, [fill])).rejects.toEqual(code("LOG_FAILED"));
  await log.append(other, "t", 0, 0, [fill]);
  expect(await log.deleteRecords("t", 0, 2)).toBe(2);
  expect(fileSystem.files("/data/t-0")).not.toContain("/data/t-0/00000000000000000000.log");
  fileSystem = fileSystem.kill();
  const again = await openEmbeddedLog({ ...options, fileSystem });
  expect(await again.producerState("p", "t", 0)).toEqual({ epoch: 0, nextSequence: 2 });
  await expect(again.append(producer, "t", 0, 1, [record("second")])).resolves.toBeUndefined(); // known, and not kept twice
  await again.append(producer, "t", 0, 2, [record("third")]);
  expect(again.topic("t")?.highWatermark(0)).toBe(4);
  await again.close();
});

test("a damaged snapshot is made again before retention takes the batches that say the same", async () => {
  let fileSystem = new SimulatedFileSystem({ seed: 8 });
  const { log, options } = await openWithTopic({ fileSystem, directory: "/data", defaults: { ...smallDefaults, segmentBytes: 600 } });
  await log.append(producer, "t", 0, 0, [record("first")]);
  for (let i = 0; i < 4; i++) await log.append(other, "t", 0, i, [fill]);
  const snapshots = fileSystem.files("/data/t-0").filter((file) => file.endsWith(".snapshot"));
  for (const file of snapshots) fileSystem.flip(file, 40, 1);
  expect(snapshots.length).toBeGreaterThan(0);
  await log.deleteRecords("t", 0, 3);
  fileSystem = fileSystem.kill();
  const again = await openEmbeddedLog({ ...options, fileSystem });
  expect(await again.producerState("p", "t", 0)).toEqual({ epoch: 0, nextSequence: 1 });
  await again.close();
});

/** What happens to a partition in which one producer stands still: after each end of a process it is still known as it was. */
class StandingProducer {
  private readonly random: Random;
  private fileSystem: SimulatedFileSystem;
  private process: MortalFileSystem;
  private readonly options = logOptions("/data", { defaults: { ...smallDefaults, segmentBytes: 900 } });
  private appended = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
    this.fileSystem = new SimulatedFileSystem({ seed, turnsMax: 1 });
    this.process = new MortalFileSystem(this.fileSystem);
  }

  async run(steps: number): Promise<void> {
    let log = await this.open();
    await log.createTopic("t");
    for (let i = 0; i < 3; i++) await log.append(producer, "t", 0, i, [record("mine")]);
    for (let step = 0; step < steps; step++) {
      await this.change(log);
      if (this.random.below(5) > 0) continue;
      const underWay = this.random.below(2) === 0 ? this.change(log).catch(() => undefined) : undefined;
      for (let turns = this.random.below(30); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
      this.fileSystem = this.random.below(2) === 0 ? this.fileSystem.crash() : this.fileSystem.kill();
      await this.process.die();
      void underWay;
      this.process = new MortalFileSystem(this.fileSystem);
      log = await this.open();
      expect(await log.producerState("p", "t", 0)).toEqual({ epoch: 0, nextSequence: 3 });
      this.appended = (await log.producerState("other", "t", 0))?.nextSequence ?? 0;
    }
    await log.close();
  }

  private open() {
    return openEmbeddedLog({ ...this.options, fileSystem: this.process.fileSystem });
  }

  private async change(log: Awaited<ReturnType<StandingProducer["open"]>>): Promise<void> {
    const highWatermark = log.topic("t")?.highWatermark(0) ?? 0;
    const choice = this.random.below(10);
    if (choice < 5) {
      if (this.random.below(8) === 0) this.fileSystem.failNext({ op: "sync", code: "EIO", path: ".log" });
      await log.append(other, "t", 0, this.appended, [fill]).then(
        () => void this.appended++,
        () => undefined,
      );
      this.fileSystem.heal();
    } else if (choice < 8) await log.deleteRecords("t", 0, Math.max(0, highWatermark - this.random.below(4)));
    else await log.maintain(); // the second one in a row puts the files away
  }
}

test("a producer that stands still is known as it was after any end of a process", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    await new StandingProducer(seed).run(40).catch((error: Error) => {
      error.message = `seed ${seed}: ${error.message}`;
      throw error;
    });
  }
});
