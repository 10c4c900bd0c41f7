/** What a newer release wrote in a format that this one does not know is refused, by a start and by the tools, and left as it is. */
import { expect, test } from "vitest";
import { openEmbeddedLog } from "../../../src/log/embedded/embeddedLog.ts";
import { openKeyedStore } from "../../../src/log/keyedStore.ts";
import { repairLog } from "../../../src/log/tools/repairLog.ts";
import { SimulatedFileSystem } from "../../support/simulatedFileSystem.ts";
import { logOptions, producer, record, smallDefaults } from "../support.ts";
import { flip, lookAt, writeAnew } from "./support.ts";

const directory = "/data/topics";

/** Killed, so that a start looks at everything; with a torn end, which a repair would cut. */
async function killed() {
  const fileSystem = new SimulatedFileSystem({ seed: 1, turnsMax: 0 });
  await fileSystem.makeDirectory(directory);
  const options = logOptions(directory, { fileSystem, diskReserveBytes: 0, defaults: { ...smallDefaults, segmentBytes: 1000 } });
  const { clock, logger } = options;
  const catalogIn = (disk: SimulatedFileSystem) =>
    openKeyedStore({ fileSystem: disk, clock, logger, path: "/data/catalog", name: "catalog", formatVersion: 1 });
  const log = await openEmbeddedLog({ ...options, catalog: await catalogIn(fileSystem) });
  await log.createTopic("t");
  for (let n = 0; n < 20; n++) await log.append(producer, "t", 0, n, [record("x".repeat(100))]);
  const disk = fileSystem.kill();
  const catalog = await catalogIn(disk);
  const last = (await disk.list(`${directory}/t-0`))
    .filter((name) => name.endsWith(".log"))
    .toSorted()
    .at(-1) as string;
  const file = `${directory}/t-0/${last}`;
  await flip(disk, file, ((await disk.stat(file))?.bytes as number) - 1, 0);
  return { disk, options: { ...options, fileSystem: disk, catalog }, file };
}

type Killed = Awaited<ReturnType<typeof killed>>;

async function newerEntry({ options: { catalog } }: Killed, key: string): Promise<void> {
  const entry = catalog.entries.get(key) as { readonly version: number };
  await catalog.change(new Map([[key, { ...entry, version: entry.version + 1 }]]));
}

async function newerSnapshot({ disk }: Killed): Promise<void> {
  const name = (await disk.list(`${directory}/t-0`))
    .filter((one) => one.endsWith(".snapshot"))
    .toSorted()
    .at(-1) as string;
  const file = `${directory}/t-0/${name}`;
  const text = (await disk.readFile(file)).toString();
  await writeAnew(disk, file, Buffer.from(text.replace('"version":3', '"version":4')));
}

test.each([
  ["a topic's entry in the catalog", (node: Killed) => newerEntry(node, "topic:t")],
  ["a partition's entry in the catalog", (node: Killed) => newerEntry(node, "partition:t-0")],
  ["a snapshot of producers", newerSnapshot],
])("%s", async (_, makeNewer) => {
  const node = await killed();
  const { disk, options, file } = node;
  const tooNew = { code: "FORMAT_TOO_NEW", hint: "Start the release that wrote it, or a later one." };
  await makeNewer(node);
  const bytes = (await disk.stat(file))?.bytes;
  await expect(repairLog({ ...options, progress: () => undefined, cutDamage: true })).rejects.toMatchObject(tooNew);
  await expect(lookAt(disk)).rejects.toMatchObject(tooNew);
  await expect(openEmbeddedLog(options)).rejects.toMatchObject(tooNew);
  expect((await disk.stat(file))?.bytes).toBe(bytes);
});

test("as it is without that: the end is torn, and cut", async () => {
  const { options, file } = await killed();
  expect(await repairLog({ ...options, progress: () => undefined, cutDamage: false })).toMatchObject({
    done: [expect.stringContaining(`cut ${file}`)],
    left: [],
  });
});
