import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import type { MillraceError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import type { AbortedTransaction, EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { Isolation, PartitionReader, SyncPolicy } from "../../src/log/contract/partitionedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { logOptions, MemoryCatalog, record } from "./support.ts";
import { batchesFrom, producerBatch, recordsFrom } from "./transactionSupport.ts";

/** A batch as the log must hold it, in order. */
interface ModelBatch {
  readonly values: readonly string[];
  /** -1: the log's own record. */
  readonly id: number;
  readonly epoch: number;
  readonly sequence: number;
  readonly transactional: boolean;
  readonly marker: { readonly outcome: "commit" | "abort"; readonly coordinatorEpoch: number } | undefined;
}

interface ModelProducer {
  epoch: number;
  nextSequence: number;
  coordinatorEpoch: number;
  openFrom: number | undefined;
}

const PRODUCERS = 4;

/** What is met over all runs: none may stay at zero. */
const met = {
  commits: 0,
  aborts: 0,
  fenced: 0,
  outside: 0,
  emptyMarkers: 0,
  deletions: 0,
  lossOfPower: 0,
  kill: 0,
  close: 0,
  failures: 0,
  cutBack: 0,
  heldBack: 0,
  aborted: 0,
  indexes: 0,
};

/** Random producers on one partition, beside a plain list of what it holds. */
class TransactionRun {
  private readonly random: Random;
  private fileSystem: SimulatedFileSystem;
  private readonly catalog = new MemoryCatalog();
  private log!: EmbeddedLog;
  private topic!: EmbeddedTopic;
  /** Remembers what it read, and must forget it when the log is cut. */
  private lasting!: PartitionReader;
  private batches: ModelBatch[] = [];
  /** As many batches must be there after a kill, and after a loss of power. */
  private settled = 0;
  private synced = 0;
  private count = 0;
  private failing = false;

  constructor(
    readonly seed: number,
    private readonly sync: SyncPolicy,
  ) {
    this.random = new Random(seed);
    this.fileSystem = new SimulatedFileSystem({ seed });
  }

  async run(steps: number): Promise<void> {
    await this.open();
    for (let i = 0; i < steps; i++) await this.step();
    await this.restart("crash");
    await this.restart("close");
    const { problems } = await verifyLog(this.fileSystem, "/data", () => undefined);
    expect(problems.filter(({ kind }) => kind === "index")).toEqual([]);
  }

  private async step(): Promise<void> {
    const choice = this.random.below(30);
    if (choice < 16) await this.several();
    else if (choice < 18) await this.ownRecord();
    else if (choice < 22) await this.compare();
    else if (choice === 22) await this.refused();
    else if (choice === 23) await this.deleteSome();
    else if (choice === 24) await this.log.maintain();
    else if (choice === 25) await this.syncNow();
    else if (choice === 26) await this.fail();
    else await this.restart(this.random.pick(["crash", "kill", "close"] as const));
  }

  /** A few batches in a row, not always waited for: then a crash comes meanwhile. */
  private async several(): Promise<void> {
    const waits: Promise<void>[] = [];
    for (let i = this.random.below(6); i >= 0; i--) waits.push(this.appendOne());
    if (this.random.below(8) > 0) await Promise.all(waits);
    else {
      for (let i = this.random.below(20); i > 0; i--) await new Promise((resolve) => setImmediate(resolve));
      await this.restart(this.random.pick(["crash", "kill"] as const));
    }
  }

  private appendOne(): Promise<void> {
    const id = 1 + this.random.below(PRODUCERS);
    const producer = this.producers().get(id) ?? { epoch: 0, nextSequence: 0, coordinatorEpoch: -1, openFrom: undefined };
    if (this.random.below(3) === 0) return this.endOne(id, producer);
    const transactional = producer.openFrom !== undefined || this.random.below(2) === 0;
    const values = Array.from({ length: 1 + this.random.below(3) }, () => this.value());
    const { epoch, nextSequence: sequence } = producer;
    const appended = this.topic.appendBatch(0, producerBatch(values, { id, epoch, sequence }, transactional));
    return this.took({ values, id, epoch, sequence, transactional, marker: undefined }, appended);
  }

  private endOne(id: number, producer: ModelProducer): Promise<void> {
    const outcome = this.random.pick(["commit", "abort"] as const);
    const fences = this.random.below(5) === 0;
    const epoch = producer.epoch + (fences ? 1 : 0);
    const coordinatorEpoch = Math.max(0, producer.coordinatorEpoch) + this.random.below(2);
    if (producer.openFrom === undefined) met.emptyMarkers++;
    else met[outcome === "commit" ? "commits" : "aborts"]++;
    const appended = this.topic.endTransaction(0, { producerId: BigInt(id), epoch, coordinatorEpoch, outcome });
    return this.took({ values: [], id, epoch, sequence: -1, transactional: true, marker: { outcome, coordinatorEpoch } }, appended);
  }

  private async took(batch: ModelBatch, appended: Promise<unknown>): Promise<void> {
    const { batches } = this;
    const place = batches.push(batch);
    try {
      await appended;
      if (batches === this.batches) this.settled = Math.max(this.settled, place);
    } catch (error) {
      if (batches === this.batches && !this.failing) throw error;
    }
  }

  private async ownRecord(): Promise<void> {
    const value = this.value();
    const batch = { values: [value], id: -1, epoch: -1, sequence: -1, transactional: false, marker: undefined };
    // alone in its flush, so that it is a batch of its own
    this.topic.append(0, record(value), undefined);
    await this.took(batch, this.log.sync("t"));
    this.synced = this.batches.length;
  }

  private async refused(): Promise<void> {
    const known = [...this.producers()].filter(([, { epoch }]) => epoch > 0);
    for (const [id, { epoch, nextSequence }] of known) {
      const batch = producerBatch(["zombie"], { id, epoch: epoch - 1, sequence: nextSequence }, true);
      await expect(this.topic.appendBatch(0, batch)).rejects.toMatchObject({ code: "PRODUCER_FENCED" });
      met.fenced++;
    }
    for (const [id, { epoch, nextSequence, openFrom }] of this.producers()) {
      if (openFrom === undefined) continue;
      const batch = producerBatch(["outside"], { id, epoch, sequence: nextSequence }, false);
      await expect(this.topic.appendBatch(0, batch)).rejects.toMatchObject({ code: "INVALID_TXN_STATE" });
      met.outside++;
    }
  }

  private async deleteSome(): Promise<void> {
    const start = this.topic.startOffset(0);
    const to = start + this.random.below(Math.floor((this.topic.highWatermark(0) - start) / 3) + 1);
    await this.log.deleteRecords("t", 0, to);
    this.synced = Math.max(this.synced, this.settled);
    met.deletions++;
  }

  private async syncNow(): Promise<void> {
    await this.log.sync("t");
    this.synced = this.batches.length;
  }

  /** The disk refuses something; then the partition goes back to what is surely there, and on by itself. */
  private async fail(): Promise<void> {
    // with "never" these can be read, and are cut
    await Promise.all(Array.from({ length: 8 }, () => this.appendOne()));
    await this.compare();
    this.failing = true;
    const op = this.random.pick(["write", "sync", "open", "rename", "syncDirectory"] as const);
    this.fileSystem.failNext({ op, code: "EIO", path: "/data/t-0/" });
    const waits = Array.from({ length: 3 }, () => this.appendOne());
    await Promise.all(waits);
    this.fileSystem.heal();
    for (let tries = 0; ; tries++) {
      try {
        await this.log.sync("t");
        break;
      } catch (error) {
        expect((error as MillraceError).code).toBe("LOG_FAILED");
        expect(tries).toBeLessThan(200);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    }
    this.failing = false;
    met.failures++;
    const before = this.batches.length;
    await this.take(this.sync.kind === "always" ? this.settled : this.synced);
    if (this.batches.length < before) met.cutBack++;
    await this.compare();
  }

  private async restart(how: "crash" | "kill" | "close"): Promise<void> {
    if (how !== "close") this.batches = [...this.batches]; // what is under way on the old machine does not matter any more
    if (how === "close") await this.log.close();
    else this.fileSystem = how === "crash" ? this.fileSystem.crash() : this.fileSystem.kill();
    met[how === "crash" ? "lossOfPower" : how]++;
    const sure = how === "close" ? this.batches.length : how === "kill" || this.sync.kind === "always" ? this.settled : this.synced;
    await this.open();
    await this.take(sure);
    await this.compare();
  }

  /** What is there now is a beginning of what was appended, with at least `sure` batches. */
  private async take(sure: number): Promise<void> {
    const reader = await this.reader("read_uncommitted");
    const end = reader.highWatermark();
    await reader.close();
    const ends = this.offsets().map(({ last }) => last + 1);
    const there = end === 0 ? 0 : ends.indexOf(end) + 1;
    expect(there === 0 ? end : there, `seed ${this.seed}`).toBeGreaterThanOrEqual(sure);
    this.batches = this.batches.slice(0, there);
    this.settled = this.synced = there;
  }

  private async compare(): Promise<void> {
    await this.compareUncommitted();
    const start = this.topic.startOffset(0);
    const open = [...this.producers()].filter(([, { openFrom }]) => openFrom !== undefined);
    const high = this.offsets().at(-1)?.last ?? -1;
    const openFrom = Math.min(high + 1, ...open.map(([, producer]) => Math.max(producer.openFrom as number, start)));
    const stable = this.topic.lastStableOffset(0);
    // a transaction whose beginning was deleted, and of which nothing may be left
    expect(stable).toBeGreaterThanOrEqual(openFrom);
    if (open.every(([, producer]) => (producer.openFrom as number) >= start)) expect(stable).toBe(openFrom);
    if (stable <= high) met.heldBack++;
    for (const reader of [this.lasting, await this.reader("read_committed")]) await this.compareCommitted(reader, start, stable);
    await this.compareAborted(start, stable);
  }

  private async compareCommitted(reader: PartitionReader, start: number, stable: number): Promise<void> {
    expect(reader.highWatermark()).toBe(stable);
    const from = start + this.random.below(stable - start + 1);
    const found = await recordsFrom(reader, from, 1 + this.random.below(2000));
    expect(found, `seed ${this.seed}`).toEqual(this.committed().filter(([offset]) => offset >= from && offset < stable));
    if (reader !== this.lasting) await reader.close();
  }

  private async compareUncommitted(): Promise<void> {
    const reader = await this.reader("read_uncommitted");
    const start = reader.startOffset();
    const found = await batchesFrom(reader, start, 1 + this.random.below(2000));
    const expected = this.offsets().flatMap(({ first, last }, i) =>
      last < start ? [] : [lineOf(this.batches[i] as ModelBatch, first, last)],
    );
    expect(found, `seed ${this.seed}`).toEqual(expected);
    await reader.close();
  }

  private async compareAborted(start: number, stable: number): Promise<void> {
    const from = start + this.random.below(stable - start + 1);
    const to = from + this.random.below(stable - from + 1);
    const found = await this.topic.abortedTransactions(0, from, to);
    const expected = this.aborted().filter(({ firstOffset, lastOffset }) => lastOffset >= from && firstOffset < to);
    met.aborted += expected.length;
    const whole = ({ firstOffset }: AbortedTransaction): boolean => firstOffset >= start;
    expect(found.filter(whole)).toEqual(expected.filter(whole));
    // what is left of one whose beginning was deleted
    for (const { producerId, lastOffset } of found) expect(expected).toContainEqual(expect.objectContaining({ producerId, lastOffset }));
    met.indexes += (await this.fileSystem.list("/data/t-0")).filter((name) => name.endsWith(".txnindex")).length;
  }

  private offsets(): { first: number; last: number }[] {
    let next = 0;
    return this.batches.map(({ values, marker }) => {
      const first = next;
      next += marker === undefined ? values.length : 1;
      return { first, last: next - 1 };
    });
  }

  private producers(): Map<number, ModelProducer> {
    const producers = new Map<number, ModelProducer>();
    const offsets = this.offsets();
    for (const [i, { id, epoch, sequence, values, transactional, marker }] of this.batches.entries()) {
      if (id < 0) continue;
      const producer = producers.get(id) ?? { epoch, nextSequence: 0, coordinatorEpoch: -1, openFrom: undefined };
      producers.set(id, producer);
      if (producer.epoch !== epoch) producer.nextSequence = 0;
      producer.epoch = epoch;
      if (marker === undefined) {
        producer.nextSequence = sequence + values.length;
        if (transactional) producer.openFrom ??= offsets[i]?.first;
      } else {
        producer.openFrom = undefined;
        producer.coordinatorEpoch = marker.coordinatorEpoch;
      }
    }
    return producers;
  }

  private aborted(): AbortedTransaction[] {
    const open = new Map<number, number>();
    const found: AbortedTransaction[] = [];
    for (const [i, { first }] of this.offsets().entries()) {
      const { id, transactional, marker } = this.batches[i] as ModelBatch;
      if (marker === undefined) {
        if (transactional && !open.has(id)) open.set(id, first);
        continue;
      }
      const firstOffset = open.get(id);
      open.delete(id);
      if (marker.outcome === "abort" && firstOffset !== undefined) found.push({ producerId: BigInt(id), firstOffset, lastOffset: first });
    }
    return found;
  }

  private committed(): [number, string][] {
    const aborted = this.aborted();
    return this.offsets().flatMap(({ first }, i) => {
      const { id, values, transactional } = this.batches[i] as ModelBatch;
      const hidden = aborted.some((one) => one.producerId === BigInt(id) && one.firstOffset <= first && first < one.lastOffset);
      return transactional && hidden ? [] : values.map((value, k): [number, string] => [first + k, value]);
    });
  }

  private reader(isolation: Isolation) {
    return this.log.openReader(this.topic.description.partitions[0] as never, { isolation });
  }

  private async open(): Promise<void> {
    const { fileSystem, catalog, sync } = this;
    const clock = { ...systemClock, after: (ms: number, then: () => void) => systemClock.after(Math.min(ms, 1), then) };
    const options = logOptions("/data", { fileSystem, catalog, clock, maintenanceIntervalMs: 2 ** 30 });
    this.log = await openEmbeddedLog({
      ...options,
      clock: { ...clock, after: (ms, then) => (ms === 2 ** 30 ? { cancel() {} } : clock.after(ms, then)) },
    });
    await this.log.createTopic("t", { partitions: 1, segmentBytes: 1000, sync });
    this.topic = this.log.topic("t") as EmbeddedTopic;
    this.lasting = await this.reader("read_committed");
  }

  private value(): string {
    return `${this.count++}:${"x".repeat(this.random.below(this.random.below(5) === 0 ? 400 : 30))}`;
  }
}

function lineOf({ values, id, epoch, transactional, marker }: ModelBatch, first: number, last: number): string {
  const offsets = first === last ? `${first}` : `${first}-${last}`;
  const producer = id < 0 ? "" : ` p${id}.${epoch}`;
  return marker === undefined
    ? `${offsets}${producer}${transactional ? " tx" : ""}: ${values.join(" ")}`
    : `${offsets}${producer} ${marker.outcome}`;
}

const policies: readonly SyncPolicy[] = [{ kind: "always" }, { kind: "never" }, { kind: "interval", ms: 1 }];
const seeds = Number(process.env.MILLRACE_SEEDS ?? 4);

describe.each(policies)("transactions with sync $kind, through crashes and failures", (sync) => {
  test.each(Array.from({ length: seeds }, (_, i) => 100 + i))("are read as a plain model says (seed %i)", async (seed) => {
    await new TransactionRun(seed, sync).run(60);
  });
});

test("everything that the model can do was met", () => {
  for (const [what, times] of Object.entries(met)) expect([what, times]).not.toEqual([what, 0]);
});
