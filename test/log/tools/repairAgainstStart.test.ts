/** What `millrace log repair` does without a flag, held against a start without it: a later start must serve no less. */
import { describe, expect, test } from "vitest";
import { MillraceError } from "../../../src/base/errors.ts";
import type { FileSystem } from "../../../src/base/fileSystem.ts";
import { Random } from "../../../src/base/random.ts";
import type { SyncPolicy } from "../../../src/log/contract/partitionedLog.ts";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../../src/log/embedded/embeddedLog.ts";
import { type Repaired, repairLog } from "../../../src/log/tools/repairLog.ts";
import { SimulatedFileSystem } from "../../support/simulatedFileSystem.ts";
import { valueAt } from "../killedPartition.ts";
import { logOptions, MemoryCatalog, producer, record, smallDefaults } from "../support.ts";
import { copyOf, flip } from "./support.ts";

const policies: Readonly<Record<string, SyncPolicy>> = {
  always: { kind: "always" },
  interval: { kind: "interval", ms: 3_600_000 },
  never: { kind: "never" },
};

/** A disk and the catalog that lies beside the topics. */
type Disk = EmbeddedLogOptions & { readonly catalog: MemoryCatalog };

const diskOf = (fileSystem: FileSystem, catalog: MemoryCatalog, sync: SyncPolicy, segmentBytes: number): Disk => ({
  ...logOptions("/data", { fileSystem, diskReserveBytes: 0, defaults: { ...smallDefaults, segmentBytes, sync } }),
  catalog,
});

async function copied(disk: Disk): Promise<Disk> {
  const catalog = new MemoryCatalog();
  for (const [key, value] of disk.catalog.entries) catalog.entries.set(key, value);
  return { ...disk, catalog, fileSystem: await copyOf(disk.fileSystem, "/data", new SimulatedFileSystem({ seed: 2, turnsMax: 0 })) };
}

interface Served {
  readonly values: ReadonlyMap<number, string>;
  readonly endOffset: number;
  readonly takes: boolean | undefined;
}

/** What a start serves, and whether it takes something new; then the process is killed. */
async function started(disk: Disk, name: string): Promise<{ readonly served: Served; readonly disk: Disk }> {
  const log = await openEmbeddedLog(disk);
  const values = new Map<number, string>();
  const topic = log.topic("t");
  const reader = await log.openReader(topic?.description.partitions[0] as never);
  const endOffset = topic?.endOffset(0) as number;
  for (let offset = reader.startOffset(); offset < endOffset; offset++) {
    const bytes = await reader.read(offset, 1).catch(unlessDamaged);
    if (bytes !== undefined) values.set(offset, valueAt(bytes, offset));
  }
  await reader.close();
  const appended = log.append({ name, epoch: 0 }, "t", 0, 0, [record(`by ${name}`)]);
  const takes = await appended.then(() => true, unlessDamaged);
  return {
    served: { values, endOffset, takes },
    disk: { ...disk, fileSystem: (disk.fileSystem as SimulatedFileSystem).kill() },
  };
}

function unlessDamaged(error: unknown): undefined {
  if (!(error instanceof MillraceError) || error.code !== "LOG_CORRUPT") throw error;
}

const repair = ({ fileSystem, directory, catalog }: Disk, cutDamage = false): Promise<Repaired> =>
  repairLog({ fileSystem, directory, catalog, progress: () => undefined, cutDamage });

const segmentsOf = async ({ fileSystem }: Disk): Promise<string[]> =>
  (await fileSystem.list("/data/t-0"))
    .filter((name) => name.endsWith(".log"))
    .toSorted()
    .map((name) => `/data/t-0/${name}`);

const bytesOf = async ({ fileSystem }: Disk, file: string): Promise<number> => (await fileSystem.stat(file))?.bytes as number;

type Ending = "a clean stop" | "a kill";

interface Story {
  readonly sync: SyncPolicy;
  readonly ending: Ending;
  readonly segmentBytes: number;
  /** Between them the node stops cleanly. */
  readonly lives: readonly number[];
  readonly deletedTo: number;
}

async function written({ sync, ending, segmentBytes, lives, deletedTo }: Story): Promise<Disk> {
  const fileSystem = new SimulatedFileSystem({ seed: 1, turnsMax: 0 });
  const disk = diskOf(fileSystem, new MemoryCatalog(), sync, segmentBytes);
  let sequence = 0;
  for (const [life, records] of lives.entries()) {
    const log = await openEmbeddedLog(disk);
    if (life === 0) await log.createTopic("t");
    for (let n = 0; n < records; n++, sequence++)
      await log.append(producer, "t", 0, sequence, [record(`value ${sequence} ${"x".repeat(150)}`)]);
    if (deletedTo > 0 && life === 0) await log.deleteRecords("t", 0, deletedTo);
    if (life < lives.length - 1 || ending === "a clean stop") await log.close();
  }
  return { ...disk, fileSystem: fileSystem.kill() };
}

describe.each(Object.entries(policies))("with the policy %s", (_, sync) => {
  test("a bit that flips in the middle after a clean stop costs its batch; repair names it, and cuts only when it is told to", async () => {
    const disk = await written({ sync, ending: "a clean stop", segmentBytes: 1 << 20, lives: [200], deletedTo: 0 });
    const [file] = (await segmentsOf(disk)) as [string];
    const bytes = await bytesOf(disk, file);
    await flip(disk.fileSystem, file, bytes >> 2, 0);
    const { done, left } = await repair(disk);
    expect([done, left.map(({ kind }) => kind)]).toEqual([[], ["batch"]]);
    expect(await bytesOf(disk, file)).toBe(bytes);
    const cut = await copied(disk);
    const { served } = await started(disk, "m");
    expect([served.values.size, served.endOffset, served.takes]).toEqual([199, 200, true]);
    expect(await repair(cut, true)).toMatchObject({ done: [expect.stringContaining(`cut ${file} at byte`)], left: [] });
    const short = await started(cut, "m");
    expect(short.served).toMatchObject({ endOffset: short.served.values.size, takes: true });
    expect(short.served.values.size).toBeLessThan(60);
  });

  test("a synced end that is damaged is kept; one that the file has lost is taken as it is", async () => {
    const disk = await written({ sync, ending: "a clean stop", segmentBytes: 1 << 20, lives: [20], deletedTo: 0 });
    const [file] = (await segmentsOf(disk)) as [string];
    const bytes = await bytesOf(disk, file);
    const flipped = await copied(disk);
    await flip(flipped.fileSystem, file, bytes - 10, 0);
    expect(await repair(flipped)).toMatchObject({ done: [], left: [{ kind: "batch", offset: 19 }] });
    expect(await bytesOf(flipped, file)).toBe(bytes);
    const handle = await disk.fileSystem.open(file, "write");
    await handle.truncate(bytes - 10);
    await handle.close();
    expect((await started(await copied(disk), "m")).served).toMatchObject({ takes: undefined });
    expect(await repair(disk)).toMatchObject({
      done: [expect.stringContaining("offsets 19 to 19 were synced and are not there")],
      left: [],
    });
    expect((await started(disk, "m")).served).toMatchObject({ endOffset: 19, takes: true });
  });

  test("the end that a kill has torn is cut as a start cuts it; with whole batches behind it only when it is told to", async () => {
    const disk = await written({ sync, ending: "a kill", segmentBytes: 1 << 20, lives: [20], deletedTo: 0 });
    const [file] = (await segmentsOf(disk)) as [string];
    const bytes = await bytesOf(disk, file);
    const torn = await copied(disk);
    await flip(torn.fileSystem, file, bytes - 10, 0);
    expect(await repair(torn)).toMatchObject({ done: [expect.stringContaining(`cut ${file} at byte`)], left: [] });
    expect((await started(torn, "m")).served).toMatchObject({ endOffset: 19, takes: true });
    await flip(disk.fileSystem, file, bytes >> 1, 0);
    const kind = sync.kind === "always" ? "batch" : "tail"; // only there the batches behind it say that it was synced
    expect(await repair(disk)).toMatchObject({ done: [], left: [{ kind, what: expect.stringContaining("is whole") as string }] });
    expect(await bytesOf(disk, file)).toBe(bytes);
    expect(await repair(disk, true)).toMatchObject({ done: [expect.stringContaining(`cut ${file} at byte`)], left: [] });
  });
});

test("what is cut takes the knowledge of what was synced before it from nobody: damage there is still none of the end", async () => {
  const disk = await written({ sync: { kind: "never" }, ending: "a kill", segmentBytes: 1 << 20, lives: [20, 1], deletedTo: 0 });
  const [file] = (await segmentsOf(disk)) as [string];
  const bytes = await bytesOf(disk, file);
  await flip(disk.fileSystem, file, bytes >> 1, 0);
  await flip(disk.fileSystem, file, bytes - 10, 0); // the only batch that says so itself
  expect(await repair(disk)).toMatchObject({ done: [expect.stringContaining("cut")], left: [{ kind: "batch" }] });
  const { served } = await started(disk, "m");
  expect([served.values.size, served.endOffset]).toEqual([19, 20]);
});

test("whatever is damaged, however the node ended: a start after repair serves what one without it serves, and so does the next", async () => {
  const seed = 20260731;
  const met = { cut: 0, lost: 0, left: 0, "tail left": 0 };
  for (let round = 0; round < 120; round++) {
    const random = new Random(seed + round);
    const story: Story = {
      sync: random.pick(Object.values(policies)),
      ending: random.pick<Ending>(["a clean stop", "a kill"]),
      segmentBytes: random.pick([3000, 1 << 20]),
      lives: random.pick([[40], [20, 20], [30, 1], [1]]),
      deletedTo: random.pick([0, 0, 7]) % 40,
    };
    const disk = await written(story.lives[0] === 1 ? { ...story, deletedTo: 0 } : story);
    const damage = await damaged(disk, random);
    const context = `seed ${seed + round}: ${JSON.stringify(story)}, ${damage}`;
    const repaired = await copied(disk);
    const { done, left } = await repair(repaired);
    let [without, after]: readonly Disk[] = [disk, repaired];
    for (const name of ["first", "second"]) {
      const a = await started(without as Disk, name);
      const b = await started(after as Disk, name);
      for (const [offset, value] of a.served.values) {
        // a partition that took nothing without repair takes another record there
        if (!value.startsWith("by ")) expect(b.served.values.get(offset), `offset ${offset}, ${name} start, ${context}`).toBe(value);
      }
      if (a.served.takes) expect(b.served.takes, context).toBe(true);
      if (done.every((one) => one.startsWith("cut "))) expect(b.served.endOffset, context).toBe(a.served.endOffset);
      [without, after] = [a.disk, b.disk];
    }
    if (done.some((one) => one.startsWith("cut "))) met.cut++;
    else if (done.length > 0) met.lost++;
    if (left.some(({ kind }) => kind === "tail")) met["tail left"]++;
    else if (left.length > 0) met.left++;
  }
  for (const [what, count] of Object.entries(met)) expect(count, what).toBeGreaterThan(0);
});

/** One or two places: a bit, a sector, the end of a file. */
async function damaged(disk: Disk, random: Random): Promise<string> {
  const told: string[] = [];
  const files = await segmentsOf(disk);
  for (let places = 1 + random.below(2); places > 0; places--) {
    const file = random.below(3) === 0 ? random.pick(files) : (files.at(-1) as string);
    const bytes = await bytesOf(disk, file);
    if (bytes === 0) continue;
    const at = random.below(3) === 0 ? Math.max(0, bytes - 1 - random.below(200)) : random.below(bytes);
    const how = random.pick(["flip", "flip", "sector", "end"]);
    told.push(`${how} at ${at} of ${file}`);
    if (how === "flip") await flip(disk.fileSystem, file, at, random.below(8));
    else await spoil(disk.fileSystem, file, at, how === "end" ? undefined : Math.min(512, bytes - at));
  }
  return told.join(", ");
}

/** @param bytes that become zero; undefined: the file ends there. */
async function spoil(fileSystem: FileSystem, file: string, at: number, bytes: number | undefined): Promise<void> {
  const handle = await fileSystem.open(file, "write");
  if (bytes === undefined) await handle.truncate(at);
  else await handle.write(Buffer.alloc(bytes), 0, bytes, at);
  await handle.sync();
  await handle.close();
}
