import { rm } from "node:fs/promises";
import { expect, test } from "vitest";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { memoryInUse } from "../support/memoryInUse.ts";
import { logOptions, MemoryCatalog, record, temporaryFolder } from "./support.ts";

test("an idle partition takes at most 4 KiB of memory: 1,000 that were made, written, and opened again", async () => {
  const partitions = 1000;
  const directory = await temporaryFolder();
  const options = { ...logOptions(directory), catalog: new MemoryCatalog(), openMax: 10 };
  let log = await openEmbeddedLog(options);
  const fill = async (topic: string, partitions: number): Promise<void> => {
    await log.createTopic(topic, { partitions, sync: { kind: "never" } });
    for (let partition = 0; partition < partitions; partition++) log.topic(topic)?.append(partition, record("x"), undefined);
    await log.sync(topic);
  };
  await fill("first", 300); // what is compiled and allocated once is there now
  const before = await memoryInUse();
  await fill("many", partitions);
  expect((await memoryInUse()) - before).toBeLessThan(partitions * 4096);
  await log.close();
  log = await openEmbeddedLog(options);
  expect(log.topic("many")?.endOffset(partitions - 1)).toBe(1);
  expect((await memoryInUse()) - before).toBeLessThan(partitions * 4096);
  await log.close();
  await rm(directory, { recursive: true });
});
