import { expect } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import type { File, FileSystem } from "../../src/base/fileSystem.ts";
import { Random } from "../../src/base/random.ts";
import type { EmbeddedLog } from "../../src/log/contract/embeddedLog.ts";
import type { Json, KeyedStore } from "../../src/log/contract/keyedStore.ts";
import type { PartitionDescriptor, PartitionReader } from "../../src/log/contract/partitionedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { OpenHandles } from "../../src/log/embedded/reading/openHandles.ts";
import { openPartitionReader } from "../../src/log/embedded/reading/partitionReader.ts";
import { indexesFit } from "../../src/log/embedded/segment/indexCheck.ts";
import { baseOffsetsOf, indexFileName, timeIndexFileName } from "../../src/log/embedded/segment/names.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { endOffsetOf, records } from "../../src/record/batch.ts";
import type { StoredRecord } from "../../src/record/record.ts";
import { changed } from "../support/changed.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { logOptions, readFrom } from "./support.ts";

/** Is the sync, or the durable note, of a place in the code left out? Undefined: none is. */
type IsLeftOut = ((site: string) => boolean) | undefined;

/** A keyed store whose changes are durable when they resolve; of those under way a loss of power leaves a beginning. */
class CrashingCatalog implements KeyedStore {
  readonly entries = new Map<string, Json>();
  private readonly durable = new Map<string, Json>();
  private unsynced: ReadonlyMap<string, Json | null>[] = [];

  constructor(private readonly isLeftOut: IsLeftOut) {}

  async change(changes: ReadonlyMap<string, Json | null>): Promise<void> {
    this.unsynced.push(changes);
    if (this.isLeftOut === undefined || !this.isLeftOut(callSite())) {
      const upTo = this.unsynced.length;
      await new Promise((resolve) => setImmediate(resolve));
      for (const synced of this.unsynced.splice(0, upTo)) apply(this.durable, synced);
    }
    apply(this.entries, changes);
  }

  crash(random: Random): CrashingCatalog {
    const next = new CrashingCatalog(this.isLeftOut);
    for (const [key, value] of this.durable) apply(next.durable, new Map([[key, value]]));
    for (const changes of this.unsynced.slice(0, random.below(this.unsynced.length + 1))) apply(next.durable, changes);
    for (const [key, value] of next.durable) next.entries.set(key, value);
    return next;
  }

  async close(): Promise<void> {}
}

function apply(to: Map<string, Json>, changes: ReadonlyMap<string, Json | null>): void {
  for (const [key, value] of changes) {
    if (value === null) to.delete(key);
    else to.set(key, value);
  }
}

/**
 * Where an index can be made again, or a note only spares work, nothing is lost without its sync. That nothing is being replaced any more
 * is said again at the end of the pass.
 */
const SPARES_WORK = /syncIndexes|PartitionFiles\.(cleaned|restFrom|replaced)/;
const PLACE = /(replaceSegments|CleanedSegment\.\w+|Compaction\.pass|PartitionFiles\.replace) .*:(\d+):\d+\)/;

/** The place in compaction that led to a call, or "". */
export function callSite(): string {
  const frames = unmappedStack();
  const place = SPARES_WORK.test(frames) ? null : PLACE.exec(frames);
  return place === null ? "" : `${place[1]}:${place[2]}`;
}

/** Places need only be told apart: looking up their lines in the sources took most of the time of these tests. */
function unmappedStack(): string {
  const { prepareStackTrace } = Error;
  Error.prepareStackTrace = (_, frames) => frames.map((frame) => `at ${frame.toString()}`).join("\n");
  try {
    return new Error("where").stack ?? "";
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
  }
}

interface Appended {
  readonly key: string;
  /** undefined: a tombstone. */
  readonly value: string | undefined;
  readonly timestamp: number;
}

type Ending = "close" | "kill" | "crash";

/** Producers' clocks go ahead of the log's by less than this. */
const AHEAD_MS = 50;
export const deleteRetentionMs = 1000;

/** A compacted topic beside its model: everything that was ever appended, by offset. */
export class CompactionRun {
  readonly random: Random;
  readonly time = { now: 1_000_000 };
  fileSystem: SimulatedFileSystem;
  log!: EmbeddedLog;
  model: Appended[] = [];
  /** Everything below it was confirmed. */
  private settled = 0;
  private readonly sequences = [0, 0, 0];
  private catalog: CrashingCatalog;
  compactedAway = 0;
  /** A compaction was cut short: it took out what it had come to, and did not note how far that is. */
  private cutShort = false;

  constructor(
    readonly seed: number,
    private readonly isLeftOut?: IsLeftOut,
    private readonly wrap: (fileSystem: FileSystem) => FileSystem = (fileSystem) => fileSystem,
    turnsMax = 1,
  ) {
    this.random = new Random(seed);
    this.fileSystem = new SimulatedFileSystem({ seed, turnsMax });
    this.catalog = new CrashingCatalog(isLeftOut);
  }

  async open(): Promise<void> {
    const clock = { ...systemClock, now: () => this.time.now };
    const { isLeftOut } = this;
    const fileSystem = this.wrap(isLeftOut === undefined ? this.fileSystem : leavingOut(this.fileSystem, isLeftOut));
    this.log = await openEmbeddedLog(logOptions("/data", { fileSystem, clock, catalog: this.catalog, compactionKeyBytesMax: 8192 }));
    await this.log.createTopic("t", {
      cleanupPolicy: "compact",
      segmentBytes: 900,
      deleteRetentionMs,
      minCleanableDirtyRatio: 0.2,
    });
  }

  /** Another run that goes on from where this one was closed, on a disk of its own. */
  async fork(wrap: (fileSystem: FileSystem) => FileSystem): Promise<CompactionRun> {
    const run = new CompactionRun(this.seed, undefined, wrap, 0);
    const folder = "/data/t-0";
    await run.fileSystem.makeDirectory(folder);
    for (const name of await this.fileSystem.list(folder)) {
      const bytes = await this.fileSystem.readFile(`${folder}/${name}`);
      const file = await run.fileSystem.open(`${folder}/${name}`, "create");
      if (bytes.length > 0) await file.write(bytes, 0, bytes.length, 0);
      await file.sync();
      await file.close();
    }
    await run.fileSystem.syncDirectory(folder);
    await run.catalog.change(this.catalog.entries);
    run.time.now = this.time.now;
    run.model = [...this.model];
    run.settled = this.settled;
    for (const [i, sequence] of this.sequences.entries()) run.sequences[i] = sequence;
    return run;
  }

  reader(): Promise<PartitionReader> {
    return this.log.openReader((this.log.topic("t") as NonNullable<ReturnType<EmbeddedLog["topic"]>>).description.partitions[0] as never);
  }

  /** Some records of one producer, most of them of keys that were there before. */
  async append(): Promise<void> {
    const { random } = this;
    const producer = random.below(3);
    const appended = Array.from({ length: 1 + random.below(3) }, (): Appended => {
      const key = `k${random.below(random.below(3) === 0 ? 40 : 6)}`;
      const value = random.below(4) === 0 ? undefined : `${this.model.length}.${random.below(1000)} ${"x".repeat(random.below(60))}`;
      return { key, value, timestamp: this.time.now + random.below(AHEAD_MS) };
    });
    const sequence = this.sequences[producer] as number;
    this.sequences[producer] = sequence + appended.length;
    this.model.push(...appended);
    const end = this.model.length;
    const stored = appended.map(({ key, value, timestamp }) => ({
      key: Buffer.from(key),
      value: value === undefined ? null : Buffer.from(value),
      headers: [],
      timestamp,
    }));
    await this.log.append({ name: `p${producer}`, epoch: 0 }, "t", 0, sequence, stored);
    this.settled = end;
  }

  /** A consumer from the start to the end, while whatever else is going on. */
  async replay(isOver: () => boolean, through?: (fileSystem: FileSystem) => FileSystem): Promise<Map<string, string>> {
    const descriptor = this.log.topic("t")?.description.partitions[0] as PartitionDescriptor;
    const reader = through ? openPartitionReader(descriptor, {}, through(this.fileSystem), new OpenHandles(9)) : await this.reader();
    const map = new Map<string, string>();
    let last = -1;
    for (let next = reader.startOffset(); !isOver() || next < reader.highWatermark(); ) {
      if (next >= reader.highWatermark()) {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      const bytes = await reader.read(next, 1 + this.random.below(600));
      expect(bytes.length).toBeGreaterThan(0);
      for (const found of records(bytes)) {
        if (found.offset < next) continue;
        expect(found.offset).toBeGreaterThan(last);
        last = found.offset;
        this.checkRecord(found);
        put(map, String(found.key), found.value === null ? undefined : String(found.value));
      }
      next = endOffsetOf(bytes) as number;
      if (this.random.below(3) === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await reader.close();
    return map;
  }

  contentOf(appended: readonly Appended[]): Map<string, string> {
    const map = new Map<string, string>();
    for (const { key, value } of appended) put(map, key, value);
    return map;
  }

  async compact(): Promise<void> {
    const { log, cutShort } = this;
    const before = this.cleanedTo();
    this.cutShort = true;
    await log.maintain();
    if (log !== this.log) return;
    this.cutShort = cutShort && this.cleanedTo() === before; // what is left may not be dirty enough
    await this.checkNoLeftovers();
  }

  /** Compaction, with readers and sometimes a writer beside it. */
  async compactBesideReaders(): Promise<void> {
    let over = false;
    const readers = [this.replay(() => over), this.replay(() => over)];
    const writing = (async () => {
      for (let i = this.random.below(6); i > 0; i--) await this.append();
    })();
    await Promise.all([this.compact(), writing]).finally(() => {
      over = true;
    });
    for (const found of await Promise.all(readers)) expect(found).toEqual(this.contentOf(this.model));
  }

  async restart(how: Ending): Promise<void> {
    if (how === "close") await this.log.close();
    this.log = undefined as never; // what still runs in it is over
    this.catalog = this.catalog.crash(this.random);
    this.fileSystem = how === "kill" ? this.fileSystem.kill() : this.fileSystem.crash();
    await this.open();
    if (how !== "close") await this.checkNoLeftovers();
    await this.compare();
  }

  private async checkNoLeftovers(): Promise<void> {
    expect((await this.fileSystem.list("/data/t-0")).filter((name) => name.includes("cleaned"))).toEqual([]);
  }

  async compare(): Promise<void> {
    const reader = await this.reader();
    const end = reader.highWatermark();
    expect(end).toBeGreaterThanOrEqual(this.settled);
    expect(end).toBeLessThanOrEqual(this.model.length);
    this.model = this.model.slice(0, end); // what nobody was told of may be gone
    this.settled = end;
    const found = await readFrom(reader, reader.startOffset(), 1 + this.random.below(2000));
    for (const one of found) this.checkRecord(one);
    const written = baseOffsetsOf(await this.fileSystem.list("/data/t-0")).at(-1) as number;
    this.checkWhole(found, this.cutShort ? written : this.cleanedTo());
    await this.checkSearch(reader, found);
    await reader.close();
    await this.checkFiles();
    this.compactedAway += end - found.length;
    for (const i of this.sequences.keys()) {
      this.sequences[i] = (await this.log.producerState(`p${i}`, "t", 0))?.nextSequence ?? 0;
    }
    expect(this.sequences.reduce((sum, next) => sum + next, 0)).toBe(end);
  }

  cleanedTo(): number {
    return (this.catalog.entries.get("partition:t-0") as { readonly cleaned: number }).cleaned;
  }

  private checkRecord({ offset, key, value, timestamp }: StoredRecord): void {
    const found = { key: String(key), value: value === null ? undefined : String(value), timestamp };
    const expected = this.model[offset];
    const same = expected?.key === found.key && expected.value === found.value && expected.timestamp === timestamp;
    if (!same) expect([offset, found]).toEqual([offset, expected]);
  }

  private checkWhole(found: readonly StoredRecord[], untouchedFrom: number): void {
    const replayed = new Map<string, string>();
    for (const { key, value } of found) put(replayed, String(key), value === null ? undefined : String(value));
    expect(replayed).toEqual(this.contentOf(this.model));
    const offsets = new Set(found.map(({ offset }) => offset));
    const missing: number[] = [];
    for (let offset = untouchedFrom; offset < this.model.length; offset++) if (!offsets.has(offset)) missing.push(offset);
    const latest = new Map(this.model.map(({ key }, offset) => [key, offset]));
    for (const offset of latest.values()) {
      const young = (this.model[offset] as Appended).timestamp - AHEAD_MS > this.time.now - deleteRetentionMs;
      if (young && !offsets.has(offset)) missing.push(offset); // also a tombstone
    }
    expect(missing).toEqual([]);
  }

  private async checkSearch(reader: PartitionReader, found: readonly StoredRecord[]): Promise<void> {
    for (let i = 0; i < 4; i++) {
      const offset = this.random.below(this.model.length + 1);
      expect([offset, (await readFrom(reader, offset, 300))[0]?.offset]).toEqual([
        offset,
        found.find((one) => one.offset >= offset)?.offset,
      ]);
      const timestamp = 1_000_000 + this.random.below(this.time.now - 1_000_000 + 60);
      const first = found.find((one) => one.timestamp >= timestamp)?.offset;
      expect([timestamp, (await reader.offsetForTimestamp(timestamp))?.offset]).toEqual([timestamp, first]);
    }
  }

  private async checkFiles(): Promise<void> {
    const { fileSystem } = this;
    const bases = baseOffsetsOf(await fileSystem.list("/data/t-0"));
    const { problems } = await verifyLog(fileSystem, "/data", () => undefined);
    expect(problems.filter(({ kind }) => kind !== "index" && kind !== "state")).toEqual([]); // those the next start makes again
    for (const base of bases.slice(0, -1)) {
      // one that is missing is made again; ones that say something wrong are never there
      const names = await fileSystem.list("/data/t-0");
      const areThere = [indexFileName, timeIndexFileName].every((nameOf) => names.includes(nameOf(base)));
      if (areThere) expect([base, await indexesFit(fileSystem, "/data/t-0", base)]).toEqual([base, true]);
    }
  }
}

function put(map: Map<string, string>, key: string, value: string | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

/** As if the sync of some lines were not in the code. */
function leavingOut(fileSystem: FileSystem, isLeftOut: NonNullable<IsLeftOut>): FileSystem {
  const unless = (sync: () => Promise<void>): Promise<void> => (isLeftOut(callSite()) ? Promise.resolve() : sync());
  return wrapped(fileSystem, (name, call) => (name === "sync" || name === "syncDirectory" ? unless(call as () => Promise<void>) : call()));
}

/** Every operation of a file system and of its files goes through `around`. */
export function wrapped(
  fileSystem: FileSystem,
  around: (name: string, call: () => Promise<unknown>, ...args: unknown[]) => Promise<unknown>,
): FileSystem {
  const through = <T extends object>(target: T): T =>
    new Proxy(target, {
      get: (_, name) => {
        const method = Reflect.get(target, name) as ((...args: unknown[]) => Promise<unknown>) | undefined;
        if (method === undefined) return undefined; // "then": a file is no promise
        return (...args: unknown[]) => around(String(name), () => method.apply(target, args), ...args);
      },
    });
  const { open } = fileSystem;
  return through(changed(fileSystem, { open: async (name, mode) => through(await open.call(fileSystem, name, mode)) as File }));
}
