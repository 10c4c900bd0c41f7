import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { crc32c } from "../../src/base/crc32c.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { Random } from "../../src/base/random.ts";
import type { Json, KeyedStore } from "../../src/log/contract/keyedStore.ts";
import { openKeyedStore } from "../../src/log/keyedStore.ts";
import { SimulatedFileSystem, type SyncKind } from "../support/simulatedFileSystem.ts";

const path = "/data/topology";

function open(fileSystem: SimulatedFileSystem, formatVersion = 1, name = "topology"): Promise<KeyedStore> {
  return openKeyedStore({ fileSystem, path, name, formatVersion, clock: systemClock, logger: silentLogger });
}

async function fresh(seed: number, ignoreSync?: (path: string, kind: SyncKind) => boolean): Promise<SimulatedFileSystem> {
  const fs = new SimulatedFileSystem(ignoreSync === undefined ? { seed } : { seed, ignoreSync });
  await fs.makeDirectory("/data");
  return fs;
}

/** In both of its files. */
async function overwrite(fs: SimulatedFileSystem, bytes: Buffer, at: number): Promise<void> {
  for (const name of [path, `${path}.twin`]) {
    const file = await fs.open(name, "write");
    await file.write(bytes, 0, bytes.length, at);
    await file.sync();
    await file.close();
  }
}

/**
 * Random changes, several in flight, with losses of power, kills and restarts. Beside it the model: what was acknowledged, and the
 * changes under way, which may be there from the first on, in their order.
 * @returns what went wrong, if anything
 */
async function life(seed: number, ignoreSync?: (path: string, kind: SyncKind) => boolean): Promise<string | undefined> {
  const random = new Random(seed);
  let fs = await fresh(seed, ignoreSync);
  let model = new Map<string, Json>();
  for (let round = 0; round < 5; round++) {
    let store: KeyedStore;
    try {
      store = await open(fs);
    } catch (error) {
      return `seed ${seed}, round ${round}: ${String(error)}`;
    }
    if (JSON.stringify(sorted(store.entries)) !== JSON.stringify(sorted(model))) return `seed ${seed}, round ${round}: a start forgot`;
    const states = [model];
    let durable = 0; // so many of the changes were acknowledged
    for (let n = random.below(12); n > 0; n--) {
      const change = new Map<string, Json | null>();
      for (let keys = 1 + random.below(3); keys > 0; keys--) {
        const value = random.below(4) === 0 ? null : { n: random.below(1000), filler: "x".repeat(random.below(3) * 9000) };
        change.set(`k${random.below(6)}`, value);
      }
      const count = states.push(applied(states.at(-1) as Map<string, Json>, change)) - 1;
      const settled = store.change(change).then(
        () => void (durable = count),
        () => undefined,
      );
      if (random.below(3) > 0) await settled;
    }
    if (random.below(4) === 0) await store.close();
    for (let turns = random.below(6); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
    const before = fs;
    fs = random.below(3) === 0 ? before.kill() : before.crash();
    const reopened = await open(fs).catch((error: unknown) => String(error));
    if (typeof reopened === "string") return `seed ${seed}, round ${round}: ${reopened}`;
    const found = JSON.stringify(sorted(reopened.entries));
    const match = states.slice(durable).find((state) => JSON.stringify(sorted(state)) === found);
    if (match === undefined) return `seed ${seed}, round ${round}: found ${found.length} bytes that no state explains`;
    model = match;
    if (random.below(2) === 0) fs = fs.crash(); // what a start has shown must stay, also if nothing is written after it
  }
  return undefined;
}

function applied(state: ReadonlyMap<string, Json>, change: ReadonlyMap<string, Json | null>): Map<string, Json> {
  const next = new Map(state);
  for (const [key, value] of change) {
    if (value === null) next.delete(key);
    else next.set(key, value);
  }
  return next;
}

function sorted(entries: ReadonlyMap<string, Json>): [string, Json][] {
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
}

describe("keyed store", () => {
  test("keeps what was changed, over restarts", async () => {
    const fs = await fresh(1);
    const store = await open(fs);
    await store.change(
      new Map<string, Json>([
        ["exchange ö", { type: "topic" }],
        ["queue", [1, "two", null]],
      ]),
    );
    await store.change(new Map([["queue", null]]));
    await store.close();
    const again = await open(fs);
    expect([...again.entries]).toEqual([["exchange ö", { type: "topic" }]]);
  });

  test("changes that come while a sync is in flight share the next one", async () => {
    const fs = await fresh(1);
    const store = await open(fs);
    const before = fs.syncs.file;
    await Promise.all(Array.from({ length: 100 }, (_, n) => store.change(new Map([[`k${n}`, n]]))));
    expect(fs.syncs.file - before).toBeLessThanOrEqual(4); // of each of its two files
    expect(store.entries.size).toBe(100);
  });

  test("a key that is changed again and again doesn't fill the disk", async () => {
    const fs = await fresh(1);
    const store = await open(fs);
    for (let n = 0; n < 300; n++) await store.change(new Map([["k", `${n}`.padEnd(2000)]]));
    expect((await fs.stat(path))?.bytes).toBeLessThan(80_000);
    expect((await open(fs.crash())).entries.get("k")).toBe("299".padEnd(2000));
  });

  test("a full disk during a rewrite leaves the store as it is", async () => {
    const fs = await fresh(1);
    const store = await open(fs);
    fs.failNext({ op: "open", path: ".new", code: "ENOSPC", times: Number.POSITIVE_INFINITY });
    for (let n = 0; n < 60; n++) await store.change(new Map([["k", `${n}`.padEnd(2000)]]));
    expect((await open(fs.crash())).entries.get("k")).toBe("59".padEnd(2000));
  });

  test("damage before the last entry is an error with the place, a damaged end is cut", async () => {
    const fs = await fresh(1);
    const store = await open(fs);
    await store.change(new Map([["first", 1]]));
    const end = (await fs.stat(path))?.bytes as number;
    await store.change(new Map([["second", 2]]));
    await store.close();
    await overwrite(fs, Buffer.from("!"), end + 14);
    expect([...(await open(fs)).entries.keys()]).toEqual(["first"]);
    expect((await fs.stat(path))?.bytes).toBe(end);
    await (await open(fs)).change(new Map([["third", 3]]));
    await overwrite(fs, Buffer.from("!"), end - 3);
    await expect(open(fs)).rejects.toMatchObject({ code: "KEYED_STORE_CORRUPT", where: expect.stringContaining(path) as string });
  });

  test("zeros behind any byte of the last entry, as of a lost sector, cost that entry and no more", async () => {
    const fs = await fresh(9);
    const store = await open(fs);
    await store.change(new Map([["kept", 1]]));
    const begin = (await fs.stat(path))?.bytes as number;
    await store.change(new Map([["last", 2]]));
    await store.close();
    const whole = await fs.readFile(path);
    for (let at = begin; at < whole.length; at++) {
      await overwrite(fs, whole, 0);
      await overwrite(fs, Buffer.alloc(whole.length - at), at);
      const again = await open(fs);
      expect([...again.entries.keys()], `zeros from ${at} on`).toEqual(["kept"]);
      await again.close();
    }
  });

  test("a newer file, and another store's file, are refused", async () => {
    const fs = await fresh(1);
    await (await open(fs, 2)).close();
    await expect(open(fs, 1)).rejects.toMatchObject({ code: "KEYED_STORE_TOO_NEW" });
    const whole = await fs.readFile(path);
    const header = Buffer.from(whole);
    header.writeUInt16LE(2, 4);
    await overwrite(fs, header.subarray(4, 6), 4); // a flipped bit is no newer release
    await expect(open(fs, 2)).rejects.toMatchObject({ code: "KEYED_STORE_CORRUPT" });
    const end = 9 + header.readUInt8(8);
    header.writeUInt32LE(crc32c(header.subarray(0, end)), end);
    await overwrite(fs, header, 0);
    await expect(open(fs, 2)).rejects.toMatchObject({ code: "KEYED_STORE_TOO_NEW" });
    await overwrite(fs, whole, 0);
    await expect(open(fs, 2, "topics")).rejects.toMatchObject({ code: "KEYED_STORE_CORRUPT" });
    await (await open(fs, 3)).close();
  });

  test("after any crash there is what was acknowledged, and of the rest a beginning", async () => {
    for (let seed = 0; seed < 150; seed++) expect(await life(seed)).toBeUndefined();
  });

  test("a start that was killed while it made the file costs nothing that is acknowledged later", async () => {
    for (let seed = 0; seed < 60; seed++) {
      const starting = await fresh(seed);
      const opening = open(starting).catch(() => undefined);
      for (let turns = seed % 12; turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
      const fs = starting.kill();
      await opening;
      await (await open(fs)).change(new Map([["a", 1]]));
      expect((await open(fs.crash())).entries.get("a"), `seed ${seed}`).toBe(1);
    }
  });

  test.each([
    ["of its writes", (where: string, kind: SyncKind) => kind === "file" && !where.endsWith(".new")],
    ["of a rewritten file", (where: string, kind: SyncKind) => kind === "file" && where.endsWith(".new")],
    ["of its folder", (where: string, kind: SyncKind) => kind === "directory" && where === "/data"],
  ] as const)("with the syncs %s taken out, the test before this one finds it", async (_, ignoreSync) => {
    const failures: string[] = [];
    for (let seed = 0; seed < 100 && failures.length === 0; seed++) {
      const failure = await life(seed, ignoreSync);
      if (failure !== undefined) failures.push(failure);
    }
    expect(failures).not.toEqual([]);
  });
});

test("what a start finds after a failed sync and a kill outlives a loss of power", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    let fs = new SimulatedFileSystem({ seed, forgottenStaysCached: true });
    await fs.makeDirectory("/data");
    const store = await open(fs);
    await store.change(new Map([["a", 1]]));
    fs.failNext({ op: "sync", code: "EIO", path });
    await expect(store.change(new Map([["a", 2]]))).rejects.toThrow();
    fs = fs.kill();
    const shown = (await open(fs)).entries.get("a");
    expect(shown).toBe(2);
    fs = fs.crash();
    expect((await open(fs)).entries.get("a"), `seed ${seed}`).toBe(shown);
  }
});
