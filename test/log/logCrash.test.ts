import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import type { File, FileSystem } from "../../src/base/fileSystem.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { Random } from "../../src/base/random.ts";
import type { EmbeddedLog } from "../../src/log/contract/embeddedLog.ts";
import type { KeyedStore } from "../../src/log/contract/keyedStore.ts";
import { type SyncPolicy, UNLIMITED } from "../../src/log/contract/partitionedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { indexesFit } from "../../src/log/embedded/segment/indexCheck.ts";
import { baseOffsetsOf } from "../../src/log/embedded/segment/names.ts";
import { openKeyedStore } from "../../src/log/keyedStore.ts";
import { Receipt } from "../../src/record/receipt.ts";
import { changed } from "../support/changed.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { logOptions, readFrom, record, valuesOf } from "./support.ts";

/** What a partition must hold: the first `settled` of these values at least, and then some of the next ones, in this order. */
interface Model {
  values: string[];
  settled: number;
  /** As many must outlive a loss of power under any policy. */
  synced: number;
  /** Of the idempotent producer. */
  sequence: number;
}

/** In no order, and always the same for a value. */
const timestampOf = (value: string): number => (Number(/\d+/.exec(value)?.[0]) * 7919) % 1000;

/** Loss of power; kill -9; a clean end; a clean end and then a loss of power. */
const endings = ["crash", "kill", "close", "close and crash"] as const;
type Ending = (typeof endings)[number];

/** A log whose machine loses power and whose process is killed, beside a model of what it promised. */
class CrashRun {
  private readonly random: Random;
  private fileSystem: SimulatedFileSystem;
  private log!: EmbeddedLog;
  private catalog!: KeyedStore;
  private models: Model[] = [];
  private count = 0;
  private hangDirectorySync = false;
  /** Another topic; unknown while it is under way. */
  private extra: boolean | undefined = false;

  constructor(
    seed: number,
    private readonly sync: SyncPolicy,
    private readonly wrap: (fileSystem: FileSystem) => FileSystem = (fileSystem) => fileSystem,
  ) {
    this.random = new Random(seed);
    this.fileSystem = new SimulatedFileSystem({ seed });
  }

  async run(steps: number): Promise<void> {
    await this.open();
    for (let i = 0; i < steps; i++) await this.step();
    await this.restart("crash");
  }

  private async step(): Promise<void> {
    const choice = this.random.below(22);
    if (choice < 10) this.appendSome();
    else if (choice < 12) await this.appendAsProducer();
    else if (choice < 16) await this.turns(this.random.below(30));
    else if (choice === 16) await this.readSome();
    else if (choice === 17) await this.createOrDelete();
    else if (choice === 18) await this.syncAll();
    else if (choice === 19) await this.killWhileRolling();
    else if (choice === 20) await this.log.maintain();
    else await this.restart(this.random.pick(endings));
  }

  private appendSome(): void {
    const partition = this.random.below(2);
    const model = this.models[partition] as Model;
    for (let i = this.random.below(20); i >= 0; i--) {
      const value = this.nextValue();
      const place = model.values.push(value);
      const receipt = new Receipt((failure) => {
        if (failure === undefined) model.settled = Math.max(model.settled, place);
      });
      this.log.topic("t")?.append(partition, record(value, { timestamp: timestampOf(value) }), receipt);
      receipt.seal();
    }
  }

  private async appendAsProducer(): Promise<void> {
    const partition = this.random.below(2);
    const model = this.models[partition] as Model;
    const values = Array.from({ length: 1 + this.random.below(5) }, () => `p${this.nextValue()}`);
    const first = model.sequence;
    const append = (): Promise<void> =>
      this.log.append(
        { name: "p", epoch: 0 },
        "t",
        partition,
        first,
        values.map((value) => record(value, { timestamp: timestampOf(value) })),
      );
    let place = 0;
    const settle = (): void => void (model.settled = Math.max(model.settled, place));
    const topic = this.log.topic("t");
    const end = topic?.endOffset(partition);
    const failures: unknown[] = [];
    append().then(settle, (error: unknown) => failures.push(error));
    // a partition that was at rest first reads what it knows of its producers
    while (topic?.endOffset(partition) === end && failures.length === 0) await this.turns(1);
    if (topic?.endOffset(partition) === end) throw failures[0];
    place = model.values.push(...values);
    model.sequence += values.length;
    if (this.random.below(2) === 0) append().then(settle, () => undefined); // impatient: it sends it again
  }

  private async readSome(): Promise<void> {
    for (const [partition, descriptor] of (this.log.topic("t")?.description.partitions ?? []).entries()) {
      const reader = await this.log.openReader(descriptor);
      const from = this.random.below(reader.highWatermark() + 1);
      const found = valuesOf(await readFrom(reader, from, 1 + this.random.below(4000)));
      const { values } = this.models[partition] as Model;
      expect(found).toEqual(values.slice(from, from + found.length));
      await reader.close();
    }
  }

  /** Another topic comes and goes; what resolved stays so. Sometimes nobody waits for it. */
  private async createOrDelete(): Promise<void> {
    const work = this.extra === true ? this.log.deleteTopic("extra") : this.createExtra();
    const after = this.extra !== true;
    if (this.random.below(2) === 0) {
      await work;
      this.extra = after;
    } else {
      work.catch(() => undefined);
      this.extra = undefined;
      await this.turns(this.random.below(20));
      await this.restart("crash");
    }
  }

  private async createExtra(): Promise<void> {
    await this.log.createTopic("extra", { partitions: 2 });
    await this.log.append({ name: "x", epoch: 0 }, "extra", 1, 0, [record("here")]);
  }

  private async syncAll(): Promise<void> {
    const places = this.models.map((model) => model.values.length);
    await this.log.sync("t");
    for (const [i, model] of this.models.entries()) model.synced = places[i] as number;
  }

  /** The new segment is there, its name not yet synced. */
  private async killWhileRolling(): Promise<void> {
    this.hangDirectorySync = true;
    this.appendSome();
    this.appendSome();
    for (let i = 0; i < 100 && this.hangDirectorySync; i++) await this.turns(1);
    this.hangDirectorySync = false;
    await this.restart("kill");
  }

  private async restart(how: Ending): Promise<void> {
    if (how.startsWith("close")) {
      await this.log.close();
      await this.catalog.close();
      for (const model of this.models) model.synced = model.values.length;
    }
    if (how === "kill") this.fileSystem = this.fileSystem.kill();
    else if (how !== "close") this.fileSystem = this.fileSystem.crash();
    // what is under way on the old machine comes to its end, and must not touch the model any more
    const models = this.models;
    this.models = models.map((model) => ({ ...model }));
    await this.open();
    await this.compare(how);
  }

  private async compare(how: Ending): Promise<void> {
    this.extra ??= this.log.topic("extra") !== undefined;
    expect(this.log.topicNames().toSorted()).toEqual(this.extra ? ["extra", "t"] : ["t"]);
    const promised = this.sync.kind === "always" || how !== "crash";
    for (const [partition, descriptor] of (this.log.topic("t")?.description.partitions ?? []).entries()) {
      const model = this.models[partition] as Model;
      const reader = await this.log.openReader(descriptor);
      const found = valuesOf(await readFrom(reader, 0));
      for (let i = 0; i < 3; i++) {
        const timestamp = this.random.below(1000);
        const first = found.findIndex((value) => timestampOf(value) >= timestamp);
        expect([timestamp, (await reader.offsetForTimestamp(timestamp))?.offset ?? -1]).toEqual([timestamp, first]);
      }
      await reader.close();
      await this.checkIndexes(`/data/topics/t-${partition}`);
      expect(found).toEqual(model.values.slice(0, found.length));
      expect(found.length).toBeGreaterThanOrEqual(promised ? Math.max(model.settled, model.synced) : model.synced);
      const ofProducer = found.filter((value) => value.startsWith("p")).length;
      expect((await this.log.producerState("p", "t", partition))?.nextSequence ?? 0).toBe(ofProducer);
      // what could be read once must not be lost again
      this.models[partition] = { values: found, settled: found.length, synced: found.length, sequence: ofProducer };
    }
  }

  /** Those of segments that are not written any more are whole after any end: nobody looks after them any more. */
  private async checkIndexes(folder: string): Promise<void> {
    const bases = baseOffsetsOf(await this.fileSystem.list(folder));
    for (const base of bases.slice(0, -1)) expect([base, await indexesFit(this.fileSystem, folder, base)]).toEqual([base, true]);
  }

  private async open(): Promise<void> {
    const simulated = this.fileSystem;
    const syncDirectory = (folder: string): Promise<void> => {
      if (!this.hangDirectorySync) return simulated.syncDirectory(folder);
      this.hangDirectorySync = false;
      return new Promise(() => undefined);
    };
    const fileSystem = this.wrap(changed(simulated, { syncDirectory }));
    await this.fileSystem.makeDirectory("/data");
    this.catalog = await openKeyedStore({
      fileSystem: this.fileSystem,
      clock: systemClock,
      logger: silentLogger,
      path: "/data/catalog",
      name: "catalog",
      formatVersion: 1,
    });
    const { sync, catalog } = this;
    const defaults = { partitions: 2, sync, segmentBytes: 2000, maxMessageBytes: 1 << 20, retentionMs: UNLIMITED };
    this.log = await openEmbeddedLog(logOptions("/data/topics", { fileSystem, catalog, defaults }));
    if (this.models.length > 0) return;
    await this.log.createTopic("t");
    this.models = [0, 1].map(() => ({ values: [], settled: 0, synced: 0, sequence: 0 }));
  }

  private nextValue(): string {
    return `${this.count++}:${"x".repeat(this.random.below(this.random.below(4) === 0 ? 900 : 60))}`;
  }

  private async turns(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
  }
}

const policies: readonly SyncPolicy[] = [{ kind: "always" }, { kind: "never" }, { kind: "interval", ms: 1 }];

describe.each(policies)("a log with sync $kind, whose machine loses power and whose process is killed", (sync) => {
  test.each(Array.from({ length: 5 }, (_, i) => 1000 + i))(
    "keeps what it promised, in order, once, and nothing else (seed %i)",
    async (seed) => {
      await new CrashRun(seed, sync).run(120);
    },
  );
});

/** Lets `isLeftOut` decide about each sync by the functions that led to it. */
function observed(fileSystem: FileSystem, isLeftOut: (site: string) => boolean): FileSystem {
  const unless = (sync: () => Promise<void>): Promise<void> => (isLeftOut(callSite()) ? Promise.resolve() : sync());
  const file = (inner: File): File => ({
    read: (into, offset, length, position) => inner.read(into, offset, length, position),
    write: (from, offset, length, position) => inner.write(from, offset, length, position),
    writeSynced: (from, offset, length, position) => inner[isLeftOut(callSite()) ? "write" : "writeSynced"](from, offset, length, position),
    sync: () => unless(() => inner.sync()),
    truncate: (bytes) => inner.truncate(bytes),
    bytes: () => inner.bytes(),
    close: () => inner.close(),
  });
  return changed(fileSystem, {
    open: async (name, mode) => file(await fileSystem.open(name, mode)),
    syncDirectory: (folder) => unless(() => fileSystem.syncDirectory(folder)),
  });
}

function callSite(): string {
  const frames = (new Error("where").stack ?? "").split("\n").filter((line) => line.includes("/src/log/embedded/"));
  const functions = frames.map((line) => /at (?:async )?([A-Z]\w*\.\w+|\w+) \(/.exec(line)?.[1]).filter((name) => name !== undefined);
  // a topic is opened in two ways, which is one and the same place
  return functions
    .filter((name, i) => i === 0 || !/^LogDirectory|^openEmbeddedLog/.test(name))
    .slice(0, 3)
    .join(" < ");
}

async function someRunFails(wrap: (fileSystem: FileSystem) => FileSystem): Promise<boolean> {
  for (let seed = 1; seed <= 60; seed++) {
    try {
      await new CrashRun(seed, policies[seed % policies.length] as SyncPolicy, wrap).run(120);
    } catch {
      return true;
    }
  }
  return false;
}

describe("every sync counts", () => {
  test("leaving out any one of them loses something", async () => {
    const sites = new Set<string>();
    const note = (site: string): boolean => {
      // an index and a snapshot can be made again: their syncs spare work, and nothing is lost without them
      if (!site.includes("syncIndexes") && !site.includes("writeSnapshot")) sites.add(site);
      return false;
    };
    for (const sync of policies) for (let seed = 1; seed <= 4; seed++) await new CrashRun(seed, sync, (fs) => observed(fs, note)).run(120);
    const needless: string[] = [];
    for (const site of sites) {
      if (!(await someRunFails((fs) => observed(fs, (found) => found === site)))) needless.push(site);
    }
    expect(needless).toEqual([]);
    expect(sites.size).toBeGreaterThanOrEqual(8);
  }, 240_000);
});
