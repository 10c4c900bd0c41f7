/** What a repair that cuts leaves of what lies before the cut. */
import { expect, test } from "vitest";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../../src/log/embedded/embeddedLog.ts";
import { repairLog } from "../../../src/log/tools/repairLog.ts";
import { batchPositions, records } from "../../../src/record/batch.ts";
import { SimulatedFileSystem } from "../../support/simulatedFileSystem.ts";
import { logOptions, producer, readFrom, record, smallDefaults, valuesOf } from "../support.ts";
import { flip } from "./support.ts";

const optionsOn = (fileSystem: SimulatedFileSystem, segmentBytes: number): EmbeddedLogOptions =>
  logOptions("/data", { fileSystem, diskReserveBytes: 0, defaults: { ...smallDefaults, segmentBytes } });

const repair = ({ fileSystem, directory, catalog }: EmbeddedLogOptions, cutDamage: boolean) =>
  repairLog({ fileSystem, directory, catalog, progress: () => undefined, cutDamage });

const segmentsIn = async (fileSystem: SimulatedFileSystem): Promise<string[]> =>
  (await fileSystem.list("/data/t-0"))
    .filter((name) => name.endsWith(".log"))
    .toSorted()
    .map((name) => `/data/t-0/${name}`);

test.each([
  ["torn end", false],
  ["damage that was synced", true],
])("a producer whose batches were deleted long ago is still known behind a cut: %s", async (_, cutDamage) => {
  const fileSystem = new SimulatedFileSystem({ seed: 1, turnsMax: 0 });
  const options = optionsOn(fileSystem, 1500);
  const log = await openEmbeddedLog(options);
  await log.createTopic("t");
  await log.append({ name: "old", epoch: 0 }, "t", 0, 0, [record("once")]);
  for (let n = 0; n < 40; n++) await log.append(producer, "t", 0, n, [record(`${n}`.padEnd(100))]);
  await log.deleteRecords("t", 0, 25);
  const disk = fileSystem.kill();
  const files = await segmentsIn(disk);
  expect(files[0]).not.toContain(`/${"0".repeat(20)}.`);
  const file = files.at(-1) as string;
  await flip(disk, file, cutDamage ? 70 : ((await disk.stat(file))?.bytes as number) - 1, 0);
  const again = { ...options, fileSystem: disk };
  expect((await repair(again, cutDamage)).done[0]).toContain(`cut ${file}`);
  const repaired = await openEmbeddedLog(again);
  expect(await repaired.producerState("old", "t", 0)).toEqual({ epoch: 0, nextSequence: 1 });
  await repaired.close();
});

test("a compacted segment that a cut makes the last one keeps all that lies before the cut", async () => {
  const fileSystem = new SimulatedFileSystem({ seed: 1, turnsMax: 0 });
  const options = optionsOn(fileSystem, 5000);
  const log = await openEmbeddedLog(options);
  await log.createTopic("t", { cleanupPolicy: "compact", minCleanableDirtyRatio: 0 });
  // every other record is of one key, and goes
  for (let n = 0; n < 60; n++) {
    const key = Buffer.from(n % 2 === 0 ? "same" : `key ${n}`);
    await log.append(producer, "t", 0, n, [record(`${n}`.padEnd(100), { key })]);
  }
  await log.maintain();
  const disk = fileSystem.kill();
  const [file] = (await segmentsIn(disk)) as [string];
  const bytes = await disk.readFile(file);
  const cutAt = [...batchPositions(bytes)].at(-3) as number;
  const before = valuesOf([...records(bytes.subarray(0, cutAt))]);
  expect(before.length).toBeGreaterThan(4);
  expect(before.map(Number).some((value) => value % 2 === 0)).toBe(false);
  await flip(disk, file, cutAt + 70, 0);
  const again = { ...options, fileSystem: disk };
  expect((await repair(again, true)).done[0]).toBe(`cut ${file} at byte ${cutAt}`);
  const repaired = await openEmbeddedLog(again);
  const reader = await repaired.openReader(repaired.topic("t")?.description.partitions[0] as never);
  expect(valuesOf(await readFrom(reader, 0))).toEqual(before);
  await reader.close();
  await repaired.close();
});
