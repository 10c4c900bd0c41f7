import path from "node:path";
import { expect, test } from "vitest";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { changed } from "../support/changed.ts";
import { logOptions, record, smallDefaults, temporaryFolder } from "./support.ts";

test("a search by time says nothing of damage when the index gets an entry behind what it searches meanwhile", async () => {
  const directory = await temporaryFolder();
  let meanwhile: (() => Promise<void>) | undefined;
  const fileSystem = changed(nodeFileSystem, {
    open: async (name, mode) => {
      const now = meanwhile;
      if (now !== undefined && mode === "read" && name.endsWith(".timeindex")) {
        meanwhile = undefined;
        await now();
      }
      return nodeFileSystem.open(name, mode);
    },
  });
  const defaults = { ...smallDefaults, segmentBytes: 1 << 25, maxMessageBytes: 1 << 22 };
  const log = await openEmbeddedLog(logOptions(directory, { fileSystem, defaults }));
  await log.createTopic("t");
  const topic = log.topic("t") as EmbeddedTopic;
  let timestamp = 1000;
  const append = async (): Promise<void> => {
    await topic.appendBatch(0, encodeBatch([record("x".repeat(1_200_000), { timestamp: timestamp++ })]));
  };
  for (let n = 0; n < 4; n++) await append();
  const reader = await log.openReader(topic.description.partitions[0] as never);
  for (const count of [1, 3]) {
    const index = path.join(directory, "t-0", "00000000000000000000.timeindex");
    const before = (await nodeFileSystem.readFile(index)).length;
    meanwhile = async () => {
      for (let n = 0; n < count; n++) await append();
    };
    expect(await reader.offsetForTimestamp(5000)).toBeUndefined();
    expect((await nodeFileSystem.readFile(index)).length).toBeGreaterThan(before);
  }
  expect(await reader.offsetForTimestamp(1005)).toMatchObject({ offset: 5, timestamp: 1005 });
  await reader.close();
  await log.close();
});
