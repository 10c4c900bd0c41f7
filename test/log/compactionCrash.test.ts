import { describe, expect, test } from "vitest";
import type { FileSystem } from "../../src/base/fileSystem.ts";
import { CompactionRun, deleteRetentionMs, wrapped } from "./compactionRun.ts";
import { readFrom } from "./support.ts";

const endings = ["close", "kill", "crash", "crash"] as const;

/** Appends, compactions, readers beside them, and ends of all kinds. Returns how many records were compacted away. */
async function randomRun(run: CompactionRun, steps: number): Promise<number> {
  const { random } = run;
  await run.open();
  for (let step = 0; step < steps; step++) {
    const choice = random.below(20);
    if (choice < 11) await run.append();
    else if (choice < 13) run.time.now += random.below(deleteRetentionMs);
    else if (choice < 16) await run.compactBesideReaders();
    else if (choice < 18) await run.restart(random.pick(endings));
    else await crashWithin(run, random.below(140));
  }
  await run.restart("close");
  return run.compactedAway;
}

/** In the midst of a compaction and of appends. */
async function crashWithin(run: CompactionRun, turns: number): Promise<void> {
  const work = [run.compact(), run.append()];
  for (const one of work) one.catch(() => undefined);
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
  await run.restart(run.random.pick(["kill", "crash"]));
}

/** Goes dark at one operation: it and all that come later never end. */
class Countdown {
  reached: Promise<void> = Promise.resolve();
  private reach: () => void = () => undefined;
  private left = Number.POSITIVE_INFINITY;

  begin(operations: number): void {
    this.left = operations;
    this.reached = new Promise((resolve) => {
      this.reach = resolve;
    });
  }

  /** Goes on when `held` does. */
  count = (fileSystem: FileSystem, held: Promise<void>): FileSystem =>
    wrapped(fileSystem, async (_, call) => {
      if (--this.left === -1) {
        this.reach();
        await held;
      }
      return call();
    });

  wrap = (fileSystem: FileSystem): FileSystem =>
    wrapped(fileSystem, (_, call) => {
      if (--this.left >= 0) return call();
      this.reach();
      return new Promise(() => undefined);
    });
}

describe("a compacted topic whose machine loses power and whose process is killed", () => {
  test.each(Array.from({ length: 8 }, (_, i) => 500 + i))(
    "holds what its keys say, for every reader, at any time (seed %i)",
    async (seed) => {
      expect(await randomRun(new CompactionRun(seed), 80)).toBeGreaterThan(0);
    },
  );

  test("at every single operation of a compaction reads as before or after", async () => {
    // all begin with what is the same for all: a log that was compacted once
    const beginnings = [7000, 7001].map(async (seed) => {
      const run = new CompactionRun(seed, undefined, undefined, 0);
      await run.open();
      for (let i = 0; i < 24; i++) await run.append();
      await run.compact();
      run.time.now += deleteRetentionMs * 2;
      for (let i = 0; i < 12; i++) await run.append();
      await run.log.close();
      return run;
    });
    let operations = 0;
    for (let finished = false; !finished; operations++) {
      const countdown = new Countdown();
      const run = await ((await beginnings[operations % 2]) as CompactionRun).fork(countdown.wrap);
      await run.open();
      for (let i = 0; i < 2; i++) await run.append();
      countdown.begin(operations);
      finished = await Promise.race([run.compact().then(() => true), countdown.reached.then(() => false)]);
      countdown.begin(Number.POSITIVE_INFINITY);
      await run.restart(operations % 3 === 0 ? "kill" : "crash");
      await run.compact();
      await run.compare();
    }
    expect(operations).toBeGreaterThan(100);
  }, 120_000);

  test("ends with one record of each key, and without its old tombstones", async () => {
    const run = new CompactionRun(42);
    await run.open();
    for (let i = 0; i < 200; i++) await run.append();
    for (let round = 0; round < 3; round++) {
      await run.compact();
      run.time.now += deleteRetentionMs * 2;
      for (let i = 0; i < 40; i++) await run.append();
    }
    await run.compact();
    const reader = await run.reader();
    const seen = new Map<string, number>();
    let old = 0;
    for (const { offset, key, value, timestamp } of await readFrom(reader, 0)) {
      if (offset >= run.cleanedTo()) break;
      seen.set(String(key), (seen.get(String(key)) ?? 0) + 1);
      if (value === null && timestamp < run.time.now - deleteRetentionMs * 5) old++;
    }
    expect(Math.max(...seen.values())).toBe(1);
    expect(old).toBe(0);
  });
});

describe("a reader of a topic that is compacted meanwhile", () => {
  test("sees what the keys say, wherever it begins in the compaction and whatever happens between two of its operations", async () => {
    let heldUp = 0;
    for (let operation = 20; operation < 100; operation++) {
      let resume = (): void => undefined;
      const resumed = new Promise<void>((resolve) => {
        resume = resolve;
      });
      const [compaction, later, reader] = [new Countdown(), new Countdown(), new Countdown()];
      const nothing = Promise.resolve();
      const run = new CompactionRun(9000, undefined, (fileSystem) => later.count(compaction.count(fileSystem, resumed), nothing), 0);
      await run.open();
      for (let i = 0; i < 14; i++) await run.append();
      await run.compact();
      for (let i = 0; i < 14; i++) await run.append();
      await run.compact();
      for (let i = 0; i < 10; i++) await run.append(); // in the last one small segments become one
      compaction.begin(operation);
      later.begin(operation + 3 + (operation % 11));
      const compacting = run.compact();
      await Promise.race([compacting, compaction.reached]);
      reader.begin(1 + (operation % 7));
      let over = false;
      const reading = run.replay(
        () => over,
        (fileSystem) => reader.count(fileSystem, Promise.race([later.reached, compacting])),
      );
      reading.catch(() => undefined);
      // while files go it waits by itself, and reaches nothing
      const turns = (async () => {
        for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
      })();
      await Promise.race([reader.reached.then(() => heldUp++), turns]);
      resume();
      await compacting;
      over = true;
      expect(await reading).toEqual(run.contentOf(run.model));
      await run.log.close();
    }
    expect(heldUp).toBeGreaterThan(30);
  }, 120_000);
});

/** Power losses in one compaction after the other, some after a whole one in the same life. */
async function denseRun(seed: number, isLeftOut: (site: string) => boolean): Promise<void> {
  const countdown = new Countdown();
  const run = new CompactionRun(seed, isLeftOut, countdown.wrap, 0);
  await run.open();
  for (let i = 0; i < 12; i++) await run.append();
  for (let round = 0; round < 4; round++) {
    for (let i = run.random.below(12); i >= 0; i--) await run.append();
    if (run.random.below(2) === 0) {
      await run.compact();
      for (let i = 0; i < 8; i++) await run.append();
    }
    countdown.begin(run.random.below(100));
    await Promise.race([run.compact(), countdown.reached]);
    countdown.begin(Number.POSITIVE_INFINITY);
    await run.restart("crash");
  }
}

async function someRunFails(isLeftOut: (site: string) => boolean, runs: number): Promise<boolean> {
  for (let seed = 1; seed <= runs; seed++) {
    try {
      await denseRun(seed, isLeftOut);
    } catch {
      return true;
    }
  }
  return false;
}

describe("every sync and every durable note counts", () => {
  test("leaving out any one of them loses something", async () => {
    const sites = new Set<string>();
    const note = (site: string): boolean => {
      if (site !== "") sites.add(site);
      return false;
    };
    expect(await someRunFails(note, 40)).toBe(false);
    const needless: string[] = [];
    for (const site of sites) {
      if (!(await someRunFails((found) => found === site, 100))) needless.push(site);
    }
    expect(needless).toEqual([]);
    expect(sites.size).toBeGreaterThanOrEqual(4);
  }, 300_000);
});
