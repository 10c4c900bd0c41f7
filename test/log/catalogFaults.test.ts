import { expect, test } from "vitest";
import type { Clock } from "../../src/base/clock.ts";
import type { MillraceError } from "../../src/base/errors.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { Random } from "../../src/base/random.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { KeyedStore } from "../../src/log/contract/keyedStore.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { allInUse } from "../../src/log/embedded/partition/partitionState.ts";
import { openKeyedStore } from "../../src/log/keyedStore.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { SimulatedClock } from "../support/simulatedClock.ts";
import type { Fault, Operation } from "../support/simulatedFaults.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { code, logOptions, producer, readFrom, record, smallDefaults, valuesOf } from "./support.ts";

/** Every pause is over at the end of the turn. */
const impatientClock = (nowMs: () => number = () => 1_000_000): Clock => ({
  now: nowMs,
  monotonicMs: nowMs,
  after(ms, then) {
    if (ms > 50_000) return { cancel: () => undefined }; // upkeep is called by the tests
    const waiting = setImmediate(then);
    return { cancel: () => clearImmediate(waiting) };
  },
});

interface Node {
  readonly log: EmbeddedLog;
  readonly catalog: KeyedStore;
}

const identity = { path: "/data/catalog", name: "catalog", formatVersion: 1, deadBytesMin: 300, whenCut: allInUse };

async function start(fileSystem: SimulatedFileSystem, clock = impatientClock()): Promise<Node> {
  await fileSystem.makeDirectory("/data");
  const catalog = await openKeyedStore({ ...identity, fileSystem, clock, logger: silentLogger });
  const defaults = { ...smallDefaults, segmentBytes: 600, retentionBytes: 900 };
  return { catalog, log: await openEmbeddedLog(logOptions("/data/topics", { fileSystem, clock, catalog, defaults })) };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The second round finds nothing that was used since the first. */
async function putAway(log: EmbeddedLog): Promise<void> {
  for (let rounds = 0; rounds < 2; rounds++) {
    await log.maintain();
    for (let turns = 0; turns < 100; turns++) await turn();
  }
}

/** As a client that tries again what may be tried again. */
async function untilDone<T>(work: () => Promise<T>, failed: (error: MillraceError) => void = () => undefined): Promise<T> {
  for (let tries = 0; tries < 2000; tries++) {
    try {
      return await work();
    } catch (error) {
      if ((error as MillraceError).retryable !== true) throw error;
      failed(error as MillraceError);
      await turn();
    }
  }
  throw new Error("it is refused for ever");
}

async function contentOf(log: EmbeddedLog, name: string): Promise<string[]> {
  const reader = await log.openReader((log.topic(name) as EmbeddedTopic).description.partitions[0] as never);
  try {
    return valuesOf(await readFrom(reader, reader.startOffset()));
  } finally {
    await reader.close();
  }
}

/** Topics come and go, are appended to, rest and are cut by retention, beside a model; the disk of the catalog fails once. */
class Life {
  private readonly random: Random;
  private node: Node | undefined;
  /** What is surely in each topic, in order; retention takes from the beginning. */
  private readonly topics = new Map<string, string[]>();
  private readonly inDoubt = new Set<string>();
  private appended = 0;

  constructor(
    seed: number,
    private fileSystem: SimulatedFileSystem,
  ) {
    this.random = new Random(seed);
  }

  async run(fault: Fault): Promise<void> {
    await this.start(fault);
    for (let step = 0; step < 25; step++) {
      const name = this.random.pick(["a", "b"]);
      const choice = this.random.below(10);
      if (choice < 2) await this.createOrDelete(name);
      else if (choice < 6) await this.append(name);
      else if (choice < 8)
        await this.log.maintain(); // the second one in a row puts the files away
      else if (choice < 9) await this.deleteRecords(name);
      else await this.endAndStart(fault);
    }
    await this.endAndStart(fault);
    for (const name of ["a", "b"]) {
      await untilDone(() => this.log.createTopic(name));
      this.topics.set(name, this.topics.get(name) ?? []);
      await this.append(name);
      await this.check(name);
    }
    this.fileSystem.heal();
    await untilDone(() => (this.node as Node).catalog.change(new Map()));
    await this.log.close();
    const { problems } = await verifyLog(this.fileSystem, "/data/topics", () => undefined);
    expect(problems.filter(({ kind }) => kind !== "state")).toEqual([]); // of partitions that nobody used since a crash: the next start makes it
  }

  private async start(fault: Fault): Promise<void> {
    this.node = await start(this.fileSystem);
    this.fileSystem.failNext(fault);
  }

  private get log(): EmbeddedLog {
    return (this.node as Node).log;
  }

  private async createOrDelete(name: string): Promise<void> {
    const deletes = this.topics.has(name);
    this.inDoubt.add(name);
    const work = (): Promise<unknown> => (deletes ? this.log.deleteTopic(name) : this.log.createTopic(name));
    const tried = this.random.below(2) === 0 ? untilDone(work) : work();
    const error = await tried.then(
      () => undefined,
      (failure: MillraceError) => failure,
    );
    if (error !== undefined && deletes && this.log.topic(name) === undefined) return; // its deletion is on its way
    if (error !== undefined) expect(["KEYED_STORE_FAILED", "KEYED_STORE_UNAVAILABLE", "TOPIC_NOT_MADE", "EIO"]).toContain(error.code);
    if (error?.code === "KEYED_STORE_FAILED") return;
    this.inDoubt.delete(name);
    if (error !== undefined) return;
    if (deletes) this.topics.delete(name);
    else this.topics.set(name, []);
  }

  private async append(name: string): Promise<void> {
    const kept = this.topics.get(name);
    if (kept === undefined || this.inDoubt.has(name)) return;
    const value = `${this.appended++} ${"x".repeat(this.random.below(300))}`;
    const topic = this.log.topic(name) as EmbeddedTopic;
    const identity = { ...producer, name: value };
    await untilDone(() => this.log.append(identity, name, 0, 0, [record(value)]));
    expect(topic.highWatermark(0)).toBeGreaterThan(0);
    kept.push(value);
  }

  private async deleteRecords(name: string): Promise<void> {
    if (!this.topics.has(name) || this.inDoubt.has(name)) return;
    const topic = this.log.topic(name) as EmbeddedTopic;
    const before = topic.startOffset(0);
    const to = Math.min(topic.highWatermark(0), before + 1);
    const failed = await this.log.deleteRecords(name, 0, to).then(
      () => false,
      () => true,
    );
    if (!failed) expect(topic.startOffset(0)).toBeGreaterThanOrEqual(to);
  }

  /** What is there is an end of what was appended, whole and in order; the last one always. */
  private async check(name: string): Promise<void> {
    const kept = this.topics.get(name) as string[];
    const found = await contentOf(this.log, name);
    expect(found).toEqual(found.length === 0 ? [] : kept.slice(-found.length));
  }

  private async endAndStart(fault: Fault): Promise<void> {
    const { log, catalog } = this.node as Node;
    const how = this.random.below(4);
    if (how === 0) {
      await log.close().catch(() => undefined);
      await catalog.close();
    }
    this.fileSystem = how === 1 ? this.fileSystem.kill() : this.fileSystem.crash();
    await this.start(fault);
    for (const name of ["a", "b"]) {
      const isThere = this.log.topic(name) !== undefined;
      if (!this.inDoubt.has(name)) expect([name, isThere]).toEqual([name, this.topics.has(name)]);
      if (!isThere) this.topics.delete(name);
      else if (!this.topics.has(name)) this.topics.set(name, []);
      if (isThere) await this.check(name);
    }
    this.inDoubt.clear();
  }
}

const operations: readonly Operation[] = ["write", "sync", "open", "rename", "syncDirectory"];
for (const op of operations) {
  test(`whichever ${op} of the catalog fails: topics, appends and retention go on, and each end of the process is followed by what was confirmed`, async () => {
    for (let after = 0; ; after++) {
      let met = false;
      for (let seed = after * 100; seed < after * 100 + 2; seed++) {
        const fileSystem = new SimulatedFileSystem({
          seed,
          turnsMax: 1,
          forgottenStaysCached: seed % 2 === 0,
          met: (what) => void (met ||= what === `EIO on ${op}`),
        });
        const life = new Life(seed, fileSystem);
        const path = op === "syncDirectory" ? "/data" : "/data/catalog";
        await life.run({ op, code: "EIO", path, after, times: 1 + (seed % 3) }).catch((error: Error) => {
          error.message = `seed ${seed}, after ${after}: ${error.message}`;
          throw error;
        });
      }
      if (!met) {
        expect(after, `${op} fails nowhere`).toBeGreaterThan(0);
        break;
      }
    }
  });
}

test("an idle partition takes records again, and retention goes on, as soon as the catalog's disk works again", async () => {
  const fileSystem = new SimulatedFileSystem({ seed: 1 });
  const { log, catalog } = await start(fileSystem);
  await log.createTopic("t");
  for (let i = 0; i < 6; i++) await log.append(producer, "t", 0, i, [record(`${i} ${"x".repeat(250)}`)]);
  await putAway(log);
  const before = log.topic("t")?.startOffset(0) as number;
  fileSystem.failNext({ op: "sync", code: "EIO", path: "/data/catalog", times: 30 });
  await expect(log.append(producer, "t", 0, 6, [record("6")])).rejects.toEqual(code("LOG_NOT_OPENED"));
  await expect(log.createTopic("other")).rejects.toEqual(code("KEYED_STORE_UNAVAILABLE"));
  await expect(log.deleteRecords("t", 0, 5)).rejects.toEqual(code("KEYED_STORE_UNAVAILABLE"));
  fileSystem.heal();
  await untilDone(() => log.append(producer, "t", 0, 6, [record("6")]));
  expect(log.topic("t")?.startOffset(0)).toBe(before);
  expect(await log.deleteRecords("t", 0, 5)).toBe(5);
  await log.createTopic("other");
  await log.close();
  await catalog.close();
});

test("a topic is not made again while the catalog's disk may name the folder of the try before", async () => {
  let fileSystem = new SimulatedFileSystem({ seed: 2 });
  const { log } = await start(fileSystem);
  fileSystem.failNext({ op: "sync", code: "EIO", path: "/data/catalog", times: Number.POSITIVE_INFINITY });
  await expect(log.createTopic("t")).rejects.toEqual(code("KEYED_STORE_FAILED"));
  const folders = fileSystem.files("/data/topics");
  await expect(log.createTopic("t")).rejects.toEqual(code("KEYED_STORE_UNAVAILABLE"));
  expect(fileSystem.files("/data/topics")).toEqual(folders);
  fileSystem = fileSystem.kill();
  await (await start(fileSystem)).log.createTopic("t");
});

test("a topic of which the deletion failed is gone, and who deletes it again, or makes one of its name, comes to the end of it", async () => {
  for (const again of ["delete", "create"] as const) {
    const fileSystem = new SimulatedFileSystem({ seed: 3 });
    const { log } = await start(fileSystem);
    await log.createTopic("t");
    await log.append(producer, "t", 0, 0, [record("old")]);
    await putAway(log); // so that the deletion's write is the first one
    fileSystem.failNext({ op: "write", code: "EIO", path: "/data/catalog" });
    await expect(log.deleteTopic("t")).rejects.toEqual(code("KEYED_STORE_FAILED"));
    expect(log.topic("t")).toBeUndefined();
    if (again === "delete") {
      await untilDone(() => log.deleteTopic("t"));
      expect(fileSystem.files("/data/topics")).toEqual([]);
      await expect(log.deleteTopic("t")).rejects.toEqual(code("UNKNOWN_TOPIC"));
    }
    await untilDone(() => log.createTopic("t"));
    expect(await contentOf(log, "t")).toEqual([]);
    expect(fileSystem.files("/data/topics").every((file) => file.startsWith("/data/topics/t-0/"))).toBe(true);
    await log.close();
  }
});

test("a topic of which the deletion failed, and that the next start has again, has what was confirmed longer ago than its interval", async () => {
  let timesThere = 0;
  for (let seed = 0; seed < 10; seed++) {
    const clock = new SimulatedClock(1_000_000);
    let fileSystem = new SimulatedFileSystem({ seed, turnsMax: 0 });
    const { log } = await start(fileSystem, clock);
    await log.createTopic("t", { sync: { kind: "interval", ms: 20 } });
    await log.append(producer, "t", 0, 0, [record("confirmed")]);
    fileSystem.failNext({ op: "write", code: "EIO", path: "/data/catalog", times: Number.POSITIVE_INFINITY });
    await expect(log.deleteTopic("t")).rejects.toEqual(code("KEYED_STORE_FAILED"));
    clock.advance(1000);
    for (let turns = 0; turns < 100; turns++) await turn();
    fileSystem = fileSystem.crash();
    const next = await start(fileSystem, clock.next());
    if (next.log.topic("t") === undefined) continue; // its deletion came to the disk
    timesThere++;
    expect(await contentOf(next.log, "t"), `seed ${seed}`).toEqual(["confirmed"]);
  }
  expect(timesThere).toBeGreaterThan(0);
});

test("a flipped bit in the catalog's last entry, which said that a partition is written to, costs none of its records", async () => {
  let disk = new SimulatedFileSystem({ seed: 3, turnsMax: 0 });
  let node = await start(disk);
  await node.log.createTopic("t");
  const values = ["one", "two", "three", "four", "five"];
  const append = (n: number): Promise<void> => node.log.append(producer, "t", 0, n, [record(values[n] as string)]);
  for (const n of [0, 1]) await append(n);
  await node.log.close();
  await node.catalog.close();
  node = await start(disk);
  for (const n of [2, 3, 4]) await append(n);
  for (let kills = 0; kills < 3; kills++) {
    disk = disk.kill();
    disk.flip("/data/catalog", (disk.peek("/data/catalog") as Buffer).length - 3, 1);
    node = await start(disk);
    expect(await contentOf(node.log, "t"), `after ${kills} kills more`).toEqual(values);
  }
  // killed between the cut and what it is followed by
  disk = disk.kill();
  disk.flip("/data/catalog", (disk.peek("/data/catalog") as Buffer).length - 3, 1);
  await openKeyedStore({ ...identity, fileSystem: disk, clock: impatientClock(), logger: silentLogger });
  node = await start(disk.kill());
  values.push("six");
  await append(5);
  expect(await contentOf(node.log, "t")).toEqual(values);
});
