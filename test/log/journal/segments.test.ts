import { expect, test } from "vitest";
import { silentLogger } from "../../../src/base/logger.ts";
import { JournalReader } from "../../../src/log/journal/files/journalReader.ts";
import { Segments } from "../../../src/log/journal/segments/segments.ts";
import type { SegmentWriter } from "../../../src/log/journal/segments/segmentWriter.ts";
import { SimulatedFileSystem } from "../../support/simulatedFileSystem.ts";

test("a segment whose name may not have reached the disk is gone before a file of the journal goes: it would bring back what was consumed", async () => {
  const fs = new SimulatedFileSystem({ seed: 1 });
  await fs.makeDirectory("/journal");
  const segments = await Segments.open(fs, "/journal", Number.POSITIVE_INFINITY, new JournalReader(), silentLogger);
  fs.failNext({ op: "syncDirectory", code: "EIO" });
  const write = async (writer: SegmentWriter): Promise<boolean> => {
    await writer.id({ queue: 1, offset: 0, bytes: 0, transient: false, from: 0 }, 0, "remembered");
    return true;
  };
  await expect(segments.create({ first: 1, last: 1, generation: 0 }, write)).rejects.toMatchObject({ code: "EIO" });
  expect(segments.all).toEqual([]);
  await segments.saveDead();
  expect(await fs.crash().list("/journal")).toEqual([]);
});

test("a list of what is gone whose name may not have reached the disk is not taken for saved: the next try syncs the name", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const fs = new SimulatedFileSystem({ seed });
    await fs.makeDirectory("/journal");
    const segments = await Segments.open(fs, "/journal", Number.POSITIVE_INFINITY, new JournalReader(), silentLogger);
    const created = await segments.create({ first: 1, last: 1, generation: 0 }, async (writer) => {
      await writer.id({ queue: 1, offset: 0, bytes: 0, transient: false, from: 0 }, 0, "remembered");
      return true;
    });
    if (created !== undefined) created.segment.settled = true;
    fs.failNext({ op: "syncDirectory", code: "EIO" });
    await expect(segments.saveDead()).rejects.toMatchObject({ code: "EIO" });
    await segments.saveDead();
    expect(await fs.crash().list("/journal"), `seed ${seed}`).toHaveLength(2);
  }
});
