import { describe, expect, test } from "vitest";
import { SimulatedFileSystem } from "./simulatedFileSystem.ts";

const seeds = Array.from({ length: 60 }, (_, seed) => seed);

/** What a file holds after a crash, over many seeds. */
async function afterCrash(
  run: (fs: SimulatedFileSystem) => Promise<void>,
  read: (fs: SimulatedFileSystem) => Promise<string>,
): Promise<Set<string>> {
  const found = new Set<string>();
  for (const seed of seeds) {
    const fs = new SimulatedFileSystem({ seed });
    await fs.makeDirectory("/data");
    await run(fs);
    found.add(await read(fs.crash()));
  }
  return found;
}

async function create(fs: SimulatedFileSystem, path: string, content: string): Promise<void> {
  const file = await fs.open(path, "create");
  await file.write(Buffer.from(content), 0, content.length, 0);
  await file.sync();
  await file.close();
}

const names = async (fs: SimulatedFileSystem): Promise<string> => (await fs.list("/data")).sort().join(",");
const content = async (fs: SimulatedFileSystem): Promise<string> => (await fs.readFile("/data/a")).toString();

describe("simulated file system", () => {
  test("what was synced survives a power loss, file and name", async () => {
    const found = await afterCrash(async (fs) => {
      await create(fs, "/data/a", "hello");
      await fs.syncDirectory("/data");
    }, content);
    expect(found).toEqual(new Set(["hello"]));
  });

  test("a name without a directory sync is there or not", async () => {
    expect(await afterCrash((fs) => create(fs, "/data/a", "hello"), names)).toEqual(new Set(["", "a"]));
  });

  test("an unsynced rename happened or not, never by half", async () => {
    const found = await afterCrash(async (fs) => {
      await create(fs, "/data/a", "hello");
      await fs.syncDirectory("/data");
      await fs.rename("/data/a", "/data/b");
    }, names);
    expect(found).toEqual(new Set(["a", "b"]));
  });

  test("unsynced writes are kept, dropped or torn, out of order", async () => {
    const found = await afterCrash(async (fs) => {
      await create(fs, "/data/a", "....");
      await fs.syncDirectory("/data");
      const file = await fs.open("/data/a", "write");
      await file.write(Buffer.from("12"), 0, 2, 0);
      await file.write(Buffer.from("34"), 0, 2, 2);
    }, content);
    expect(found).toContain("....");
    expect(found).toContain("1234");
    expect(found).toContain("..34");
    expect(found).toContain("1...");
  });

  test("kill -9 keeps what was written, and a later power loss may still take it", async () => {
    let lost = 0;
    for (const seed of seeds) {
      const fs = new SimulatedFileSystem({ seed });
      await fs.makeDirectory("/data");
      await create(fs, "/data/a", "x");
      const killed = fs.kill();
      expect(await content(killed)).toBe("x");
      if ((await names(killed.crash())) === "") lost++;
    }
    expect(lost).toBeGreaterThan(0);
    expect(lost).toBeLessThan(seeds.length);
  });

  test("what ran before a crash can touch nothing after it", async () => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    await fs.makeDirectory("/data");
    const file = await fs.open("/data/a", "create");
    await file.write(Buffer.from("x"), 0, 1, 0);
    const writing = file.write(Buffer.from("y"), 0, 1, 0);
    fs.crash();
    await expect(writing).rejects.toThrow("SIMULATED_POWER_LOSS");
    await expect(file.sync()).rejects.toThrow("SIMULATED_POWER_LOSS");
    await expect(fs.list("/data")).rejects.toThrow("SIMULATED_POWER_LOSS");
  });

  test("after a failed sync, a second one that works proves nothing", async () => {
    const found = await afterCrash(async (fs) => {
      await create(fs, "/data/a", "old");
      await fs.syncDirectory("/data");
      const file = await fs.open("/data/a", "write");
      await file.write(Buffer.from("new"), 0, 3, 0);
      fs.failNext({ op: "sync", code: "EIO" });
      await expect(file.sync()).rejects.toThrow("EIO");
      await file.sync();
    }, content);
    expect(found).toEqual(new Set(["old", "new"]));
  });

  test("a sync can be taken out", async () => {
    const fs = new SimulatedFileSystem({ seed: 1, ignoreSync: (path, kind) => kind === "file" && path === "/data/a" });
    await fs.makeDirectory("/data");
    await create(fs, "/data/a", "x");
    await create(fs, "/data/b", "x");
    expect(fs.syncs.file).toBe(2);
    await fs.syncDirectory("/data");
    const survivors = new Set<string>();
    for (const seed of seeds) {
      const other = new SimulatedFileSystem({ seed, ignoreSync: (path) => path === "/data/a" });
      await other.makeDirectory("/data");
      await create(other, "/data/a", "x");
      await other.syncDirectory("/data");
      survivors.add(await content(other.crash()));
    }
    expect(survivors).toEqual(new Set(["", "x"]));
  });

  test("the same seed gives the same run", async () => {
    const runs: string[] = [];
    for (let run = 0; run < 2; run++) {
      const fs = new SimulatedFileSystem({ seed: 7 });
      await fs.makeDirectory("/data");
      for (const name of "abcdefgh") await create(fs, `/data/${name}`, name);
      runs.push(await names(fs.crash()));
    }
    expect(runs[0]).toBe(runs[1]);
  });
});
