/** Entries of the catalog that another release wrote. */
import { expect, test } from "vitest";
import type { Json } from "../../src/log/contract/keyedStore.ts";
import { UNLIMITED } from "../../src/log/contract/partitionedLog.ts";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { appendOneByOne, logOptions, MemoryCatalog, readAll } from "./support.ts";

const key = "topic:t";

async function topicOf(release: (entry: Record<string, Json>) => Record<string, Json>): Promise<EmbeddedLogOptions> {
  const fileSystem = new SimulatedFileSystem({ seed: 1 });
  const catalog = new MemoryCatalog();
  const options = logOptions("/data/topics", { fileSystem, catalog });
  await fileSystem.makeDirectory("/data");
  const log = await openEmbeddedLog(options);
  await log.createTopic("t");
  await appendOneByOne(log, ["kept"]);
  await log.close();
  catalog.entries.set(key, release(catalog.entries.get(key) as Record<string, Json>));
  return options;
}

test("a topic of the first release keeps what it has for ever and begins no segment by time, as it did there", async () => {
  const log = await openEmbeddedLog(
    await topicOf(({ retentionMs, segmentMs, ...entry }) => {
      expect([retentionMs, segmentMs]).not.toContain(undefined);
      return { ...entry, version: 1 };
    }),
  );
  expect((await log.describeTopic("t"))?.config).toMatchObject({ retentionMs: UNLIMITED, segmentMs: Number.MAX_SAFE_INTEGER });
  expect(await readAll(log)).toEqual(["kept"]);
  await log.close();
});

test("a topic of a later release is not guessed at: the start is refused", async () => {
  const options = await topicOf((entry) => ({ ...entry, version: (entry["version"] as number) + 1 }));
  await expect(openEmbeddedLog(options)).rejects.toMatchObject({ code: "FORMAT_TOO_NEW", where: key });
});
