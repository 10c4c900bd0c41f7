import { describe, expect, test } from "vitest";
import type { Clock } from "../../src/base/clock.ts";
import { MillraceError } from "../../src/base/errors.ts";
import { type Logger, silentLogger } from "../../src/base/logger.ts";
import { Random } from "../../src/base/random.ts";
import type { Json, KeyedStore } from "../../src/log/contract/keyedStore.ts";
import { openKeyedStore } from "../../src/log/keyedStore.ts";
import type { Fault, Operation } from "../support/simulatedFaults.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { code } from "./support.ts";

const path = "/data/catalog";

/** Every pause is over at the end of the turn. */
const impatientClock: Clock = {
  now: () => 0,
  monotonicMs: () => 0,
  after(_ms, then) {
    const waiting = setImmediate(then);
    return { cancel: () => clearImmediate(waiting) };
  },
};

const open = (fileSystem: SimulatedFileSystem, logger: Logger = silentLogger, clock = impatientClock): Promise<KeyedStore> =>
  openKeyedStore({ fileSystem, path, name: "catalog", formatVersion: 1, clock, logger, deadBytesMin: 200 });

async function fresh(seed: number, options: { forgottenStaysCached?: boolean; met?: (fault: string) => void } = {}) {
  const fs = new SimulatedFileSystem({ seed, turnsMax: 1, ...options });
  await fs.makeDirectory("/data");
  return fs;
}

type State = ReadonlyMap<string, Json>;
type Change = ReadonlyMap<string, Json | null>;

const sorted = (state: State): string => JSON.stringify([...state].sort(([a], [b]) => (a < b ? -1 : 1)));
const set = (key: string, value: Json | null): Change => new Map([[key, value]]);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function applied(state: State, change: Change): State {
  const next = new Map(state);
  for (const [key, value] of change) {
    if (value === null) next.delete(key);
    else next.set(key, value);
  }
  return next;
}

async function untilTaken(store: KeyedStore): Promise<void> {
  for (let turns = 0; turns < 5000; turns++) {
    const taken = await store.change(new Map()).then(
      () => true,
      () => false,
    );
    if (taken) return;
    await turn();
  }
  throw new Error("changes are never taken again");
}

/** One store over several processes, and beside it what was confirmed, and what a crash may show instead. */
class Life {
  confirmed: State = new Map();
  /** With what failed since changes were taken last. */
  private maybe: State | undefined;
  private readonly random: Random;

  constructor(
    seed: number,
    public fs: SimulatedFileSystem,
  ) {
    this.random = new Random(seed);
  }

  async run(faults: readonly Fault[]): Promise<void> {
    let store = await open(this.fs);
    for (const fault of faults) this.fs.failNext(fault);
    for (let step = 0; step < 8; step++) {
      await this.changeSome(store);
      expect(sorted(store.entries), "in memory").toBe(sorted(this.confirmed));
      if (this.maybe !== undefined && this.random.below(2) === 0) await this.recovered(store);
      if (this.random.below(6) > 0) continue;
      store = await this.endAndStart(store);
    }
    for (let isTaken = false; !isTaken; ) {
      await this.recovered(store);
      isTaken = await this.change(store, set("last", 1)); // no, if the file is written anew again just then
    }
    await this.endAndStart(store);
  }

  private async changeSome(store: KeyedStore): Promise<void> {
    const changes = Array.from({ length: 1 + this.random.below(3) }, () => this.someChange());
    const settled = await Promise.allSettled(
      changes.map(async (change, i) => {
        for (let turns = i * this.random.below(3); turns > 0; turns--) await turn();
        await this.change(store, change);
      }),
    );
    for (const result of settled) if (result.status === "rejected") throw result.reason;
  }

  private async change(store: KeyedStore, change: Change): Promise<boolean> {
    try {
      await store.change(change);
    } catch (error) {
      const { code } = error as MillraceError;
      expect(["KEYED_STORE_FAILED", "KEYED_STORE_UNAVAILABLE"]).toContain(code);
      if (code === "KEYED_STORE_FAILED") this.maybe = applied(this.maybe ?? this.confirmed, change);
      return false;
    }
    this.confirmed = applied(this.confirmed, change);
    this.maybe = undefined;
    return true;
  }

  /** What failed is not there from now on. */
  private async recovered(store: KeyedStore): Promise<void> {
    await untilTaken(store);
    this.maybe = undefined;
  }

  private someChange(): Change {
    const change = new Map<string, Json | null>();
    for (let keys = 1 + this.random.below(2); keys > 0; keys--) {
      const value = this.random.below(4) === 0 ? null : `${this.random.below(1000)} ${"x".repeat(this.random.below(3) * 60)}`;
      change.set(`k${this.random.below(5)}`, value);
    }
    return change;
  }

  private async endAndStart(store: KeyedStore): Promise<KeyedStore> {
    const how = this.random.below(3);
    if (how === 0) await store.close();
    this.fs = how === 1 ? this.fs.crash() : this.fs.kill();
    const again = await open(this.fs);
    const found = sorted(again.entries);
    expect([this.confirmed, this.maybe ?? this.confirmed].map(sorted), "after the start").toContain(found);
    this.confirmed = new Map(again.entries);
    this.maybe = undefined;
    if (this.random.below(2) === 0) return again;
    this.fs = this.fs.crash();
    const third = await open(this.fs);
    expect(sorted(third.entries), "what a start has shown").toBe(found);
    return third;
  }
}

describe("a keyed store on a disk that fails", () => {
  const operations: readonly Operation[] = ["write", "sync", "open", "rename", "syncDirectory", "removeFile", "stat"];
  /** What leaves a copy that is not whole: only that is ever removed. */
  const leavingCopies: Fault = { op: "sync", code: "ENOSPC", path: ".new", times: 5 };

  for (const op of operations) {
    for (const times of [1, 4]) {
      test(`at any ${op}${times > 1 ? ", and at the tries after it" : ""}: goes on by itself, and each crash finds what was confirmed`, async () => {
        for (let after = 0; ; after++) {
          let met = 0;
          for (let seed = after * 100; seed < after * 100 + 3; seed++) {
            const fs = await fresh(seed, {
              forgottenStaysCached: seed % 2 === 0,
              met: (what) => void (met += Number(what === `EIO on ${op}`)),
            });
            const life = new Life(seed, fs);
            const fault: Fault = { op, code: "EIO", times, after };
            await life.run(op === "removeFile" ? [leavingCopies, fault] : [fault]).catch((error: Error) => {
              error.message = `seed ${seed}, after ${after}: ${error.message}`;
              throw error;
            });
          }
          if (met === 0) {
            expect(after, `${op} fails nowhere`).toBeGreaterThan(0);
            break;
          }
        }
      });
    }
  }

  test("at any operation of a start: that one says so, and the next one finds everything", async () => {
    const change = set("a", "x".repeat(300));
    for (const op of operations) {
      for (const isNew of [true, false]) {
        for (let after = 0; ; after++) {
          let met = false;
          let fs = await fresh(after, { forgottenStaysCached: true, met: (what) => void (met ||= what === `EIO on ${op}`) });
          if (!isNew) {
            const store = await open(fs);
            await store.change(change);
            // what is dead is written anew by the next start only
            fs.failNext({ op: "open", code: "ENOSPC", path: ".new", times: 2 });
            await store.change(change);
            await store.change(change);
            fs = fs.kill();
          }
          fs.failNext({ op, code: "EIO", after });
          const started = await open(fs).catch((error: unknown) => void expect(error).toEqual(code("EIO")));
          fs.heal();
          if (isNew) await started?.change(change);
          fs = after % 2 === 0 ? fs.kill() : fs.crash();
          const found = [...(await open(fs)).entries];
          expect(found, `${op} ${after}`).toEqual(isNew && started === undefined ? [] : [...change]);
          if (!met) break;
        }
      }
    }
  });

  test("what was in flight is unknown, what comes then is refused, and both are as before once changes are taken again", async () => {
    for (const op of ["write", "sync"] as const) {
      let fs = await fresh(3);
      const said: string[] = [];
      const say = (message: string): void => void said.push(message);
      const store = await open(fs, { ...silentLogger, error: say, warn: say, info: say });
      await store.change(set("a", 1));
      fs.failNext({ op, code: "EIO" });
      fs.failNext({ op: "open", code: "EIO", path: ".new", times: 3 });
      const inFlight = store.change(set("a", 2));
      await expect(inFlight).rejects.toEqual(code("KEYED_STORE_FAILED"));
      await expect(store.change(set("b", 1))).rejects.toEqual(code("KEYED_STORE_UNAVAILABLE"));
      await untilTaken(store);
      expect([...store.entries]).toEqual([["a", 1]]);
      await store.change(set("c", 1));
      fs = fs.crash();
      expect([...(await open(fs)).entries]).toEqual([
        ["a", 1],
        ["c", 1],
      ]);
      expect(said).toEqual(["keyed store failed", "a keyed store's disk does not work yet", "a keyed store takes changes again"]);
    }
  });

  test("which is full takes changes as soon as there is room", async () => {
    let fs = await fresh(4);
    const store = await open(fs);
    await store.change(set("a", "x".repeat(500)));
    fs.limitDisk(fs.usedBytes() + 10);
    await expect(store.change(set("b", "y".repeat(500)))).rejects.toEqual(code("KEYED_STORE_FAILED"));
    for (let turns = 0; turns < 50; turns++) await turn();
    await expect(store.change(set("b", 1))).rejects.toEqual(code("KEYED_STORE_UNAVAILABLE"));
    fs.limitDisk(undefined);
    await untilTaken(store);
    await store.change(set("b", 1));
    fs = fs.crash();
    expect([...(await open(fs)).entries.keys()]).toEqual(["a", "b"]);
  });

  test("is closed also while it fails, and tries no more", async () => {
    const fs = await fresh(5);
    const store = await open(fs);
    fs.failNext({ op: "write", code: "EIO", times: Number.POSITIVE_INFINITY });
    await expect(store.change(set("a", 1))).rejects.toEqual(code("KEYED_STORE_FAILED"));
    await store.close();
    fs.heal();
    await expect(store.change(set("a", 1))).rejects.toEqual(code("KEYED_STORE_CLOSED"));
    expect(fs.files("/data").filter((file) => file === path)).toEqual([path]);
    await (await open(fs)).close();
  });

  test("is left alone between two tries, for longer and longer", async () => {
    const fs = await fresh(6);
    const pauses: number[] = [];
    const clock: Clock = {
      ...impatientClock,
      after(ms, then) {
        pauses.push(ms);
        return impatientClock.after(ms, then);
      },
    };
    const store = await open(fs, silentLogger, clock);
    fs.failNext({ op: "write", code: "EIO", times: 10 }); // the first two at once: there are two files
    await expect(store.change(set("a", 1))).rejects.toEqual(code("KEYED_STORE_FAILED"));
    await untilTaken(store);
    expect(pauses).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  });
});

test("the error of a change that failed says what is known of it", async () => {
  const fs = await fresh(7);
  const store = await open(fs);
  fs.failNext({ op: "sync", code: "EIO" });
  const error: unknown = await store.change(set("a", 1)).catch((failure: unknown) => failure);
  expect(error).toBeInstanceOf(MillraceError);
  expect((error as MillraceError).retryable).toBe(true);
  expect((error as MillraceError).where).toBe(path);
});
