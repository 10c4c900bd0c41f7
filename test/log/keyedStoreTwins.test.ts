/** A keyed store has two files: what befalls one of them costs nothing, whatever ends the process. */
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { type Logger, silentLogger } from "../../src/base/logger.ts";
import { Random } from "../../src/base/random.ts";
import type { Json, KeyedStore } from "../../src/log/contract/keyedStore.ts";
import { openKeyedStore } from "../../src/log/keyedStore.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { code } from "./support.ts";

const path = "/data/catalog";
const files = [path, `${path}.twin`] as const;

interface Said {
  readonly message: string;
  readonly file: unknown;
  readonly position: unknown;
}

/** Also what it says as warnings and errors. */
async function open(fileSystem: SimulatedFileSystem, said: Said[] = []): Promise<KeyedStore> {
  const say: Logger["warn"] = (message, fields) => void said.push({ message, file: fields?.file, position: fields?.position });
  const logger = { ...silentLogger, warn: say, error: say };
  return openKeyedStore({ fileSystem, path, name: "catalog", formatVersion: 1, clock: systemClock, logger, deadBytesMin: 600 });
}

async function fresh(seed: number): Promise<SimulatedFileSystem> {
  const fs = new SimulatedFileSystem({ seed, turnsMax: 1 });
  await fs.makeDirectory("/data");
  return fs;
}

/** Three entries, the process ended. */
async function filled(seed = 1): Promise<SimulatedFileSystem> {
  const fs = await fresh(seed);
  const store = await open(fs);
  for (const key of ["a", "b", "c"]) await store.change(new Map([[key, `value of ${key}`]]));
  return fs.kill();
}

const all = [
  ["a", "value of a"],
  ["b", "value of b"],
  ["c", "value of c"],
];

function areAlike(fs: SimulatedFileSystem): boolean {
  const [first, second] = files.map((file) => fs.peek(file) as Buffer);
  return (first as Buffer).equals(second as Buffer);
}

describe("of a keyed store's two files", () => {
  test.each(files)("%s may lose its header, also to bytes that look like a newer version's", async (file) => {
    let fs = await filled();
    for (const damage of [Buffer.from([0xff, 0xff, 0xff, 0xff]), Buffer.alloc(16), Buffer.alloc(512, 0xa5)]) {
      const handle = await fs.open(file, "write");
      const room = Math.min(damage.length, (fs.peek(file) as Buffer).length - 4);
      await handle.write(damage, 0, room, 4);
      await handle.sync();
      await handle.close();
      const store = await open(fs);
      expect([...store.entries]).toEqual(all);
      await store.close();
      expect(areAlike(fs)).toBe(true);
      fs = fs.kill();
    }
  });

  test.each(files)("%s may have a bit flipped anywhere: it is named, and made anew from the other one", async (file) => {
    const bytes = ((await filled()).peek(file) as Buffer).length;
    for (let at = 0; at < bytes; at++) {
      let fs = await filled();
      fs.flip(file, at, 1 << (at % 8));
      const said: Said[] = [];
      expect([...(await open(fs, said)).entries], `a bit of byte ${at}`).toEqual(all);
      expect(said, `a bit of byte ${at}`).toEqual([{ message: expect.any(String), file, position: expect.any(Number) }]);
      expect(said[0]?.position).toBeLessThanOrEqual(at);
      expect(areAlike(fs)).toBe(true);
      fs = fs.crash(); // and durably so
      expect([...(await open(fs, said)).entries]).toEqual(all);
      expect(said.length).toBe(1);
    }
  });

  test.each(files)("%s may be gone, or end anywhere", async (file) => {
    const bytes = ((await filled()).peek(file) as Buffer).length;
    for (let end = -1; end < bytes; end++) {
      const fs = await filled();
      if (end < 0) await fs.removeFile(file);
      else {
        const handle = await fs.open(file, "write");
        await handle.truncate(end);
        await handle.close();
      }
      const said: Said[] = [];
      const store = await open(fs, said);
      expect([...store.entries], `${end} bytes are left`).toEqual(all);
      expect(areAlike(fs)).toBe(true);
      expect(said.map((one) => one.file)).toEqual([file]);
    }
  });

  test("neither counts if both are damaged before valid entries: that is refused, and both are left as they are", async () => {
    const fs = await filled();
    for (const file of files) fs.flip(file, 40, 1);
    const before = files.map((file) => Buffer.from(fs.peek(file) as Buffer));
    await expect(open(fs)).rejects.toEqual(code("KEYED_STORE_CORRUPT"));
    expect(files.map((file) => fs.peek(file))).toEqual(before);
  });

  test("one that is damaged is made anew after any failure on the way, at the next start", async () => {
    for (const op of ["open", "write", "sync", "rename", "syncDirectory"] as const) {
      for (let after = 0; ; after++) {
        let fs = await filled(after);
        fs.flip(path, 40, 1);
        fs.failNext({ op, code: "EIO", after });
        const isMet = await open(fs).then(
          () => false,
          () => true,
        );
        fs.heal();
        fs = after % 2 === 0 ? fs.kill() : fs.crash();
        expect([...(await open(fs)).entries], `${op} ${after}`).toEqual(all);
        expect(areAlike(fs)).toBe(true);
        if (!isMet) break;
      }
    }
  });

  test("any one may be damaged while a process ends as it likes: what was confirmed is there, and nothing that never was", async () => {
    for (let seed = 1; seed <= 400; seed++) {
      const random = new Random(seed);
      let fs = await fresh(seed);
      let confirmed = new Map<string, Json>();
      for (let round = 0; round < 4; round++) {
        const store = await open(fs).catch((error: unknown) => `seed ${seed}, round ${round}: ${String(error)}`);
        if (typeof store === "string") throw new Error(store);
        const possible = [confirmed];
        let least = 0;
        const first = JSON.stringify([...store.entries].toSorted());
        expect(first, `seed ${seed}, round ${round}: a start after a start`).toBe(JSON.stringify([...confirmed].toSorted()));
        for (let n = random.below(8); n > 0; n--) {
          const next = new Map(possible.at(-1));
          const key = `k${random.below(4)}`;
          const value = "x".repeat(random.below(200));
          next.set(key, value);
          const count = possible.push(next) - 1;
          const settled = store.change(new Map([[key, value]])).then(
            () => void (least = count),
            () => undefined,
          );
          if (random.below(3) > 0) await settled;
        }
        if (random.below(4) === 0) await store.close();
        for (let turns = random.below(5); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
        fs = random.below(2) === 0 ? fs.kill() : fs.crash();
        spoil(fs, random);
        const found = JSON.stringify([...(await open(fs)).entries].toSorted());
        const match = possible.slice(least).find((state) => JSON.stringify([...state].toSorted()) === found);
        expect(match, `seed ${seed}, round ${round}: found ${found}`).toBeDefined();
        confirmed = match as Map<string, Json>;
        fs = random.below(2) === 0 ? fs.kill() : fs.crash();
      }
    }
  });
});

/** Some bytes of one file: flipped ones, or zeros as of a lost sector. */
function spoil(fs: SimulatedFileSystem, random: Random): void {
  const file = random.pick(files);
  const bytes = fs.peek(file);
  if (bytes === undefined || bytes.length === 0) return;
  const at = random.below(bytes.length);
  const isHole = random.below(3) === 0;
  for (let n = at; n < Math.min(bytes.length, at + (isHole ? 100 : 1)); n++) {
    const mask = isHole ? (bytes[n] as number) : 1 << random.below(8);
    if (mask !== 0) fs.flip(file, n, mask);
  }
}
