import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { Random } from "../../src/base/random.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { Isolation, PartitionReader } from "../../src/log/contract/partitionedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { batchPositions, endOffsetOf, records } from "../../src/record/batch.ts";
import { BatchBuilder } from "../../src/record/batchBuilder.ts";
import {
  attributesAt,
  BatchAttribute,
  baseOffsetAt,
  baseSequenceAt,
  batchBytesAt,
  countAt,
  lastOffsetAt,
  producerEpochAt,
  producerIdAt,
} from "../../src/record/batchHeader.ts";
import { isControlAt, markerAt } from "../../src/record/controlBatch.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { logOptions, MemoryCatalog, readFrom } from "./support.ts";

interface ModelBatch {
  readonly first: number;
  readonly last: number;
  readonly records: readonly (readonly [key: string, value: string | null])[];
  readonly id: number;
  readonly epoch: number;
  readonly sequence: number;
  readonly transactional: boolean;
  readonly marker: { readonly outcome: "commit" | "abort"; readonly coordinatorEpoch: number } | undefined;
}

interface ModelProducer {
  epoch: number;
  nextSequence: number;
  open: ModelBatch | undefined;
  lastData: ModelBatch | undefined;
}

/** A batch as it lies in the log. */
interface Found {
  readonly first: number;
  readonly last: number;
  readonly id: number;
  readonly isMarker: boolean;
  readonly isTransactional: boolean;
  readonly count: number;
}

const PRODUCERS = 4;
const DELETE_RETENTION_MS = 1000;
const ALL_DAY = 2 ** 30;

/** What is met over all runs: none may stay at zero. */
const met = {
  markersGone: 0,
  markersWaiting: 0,
  markersAlone: 0,
  markersEmpty: 0,
  forgotten: 0,
  close: 0,
  kill: 0,
  crash: 0,
  snapshotsSpoilt: 0,
};

/** Random producers on one compacted partition, beside a plain list of all that was ever appended. */
class CompactedTransactions {
  private readonly random: Random;
  private fileSystem: SimulatedFileSystem;
  private readonly catalog = new MemoryCatalog();
  private log!: EmbeddedLog;
  private topic!: EmbeddedTopic;
  private readonly time = { now: 1_000_000 };
  private batches: ModelBatch[] = [];
  private count = 0;

  constructor(readonly seed: number) {
    this.random = new Random(seed);
    this.fileSystem = new SimulatedFileSystem({ seed, turnsMax: 0 });
  }

  async run(steps: number): Promise<void> {
    await this.open();
    for (let i = 0; i < steps; i++) {
      const choice = this.random.below(21);
      if (choice < 13) for (let n = this.random.below(5); n >= 0; n--) await this.appendOne();
      else if (choice === 13 && this.random.below(2) === 0) await this.retire();
      else if (choice < 15) this.time.now += this.random.below(DELETE_RETENTION_MS);
      else if (choice < 19) await this.log.maintain();
      else await this.restart();
      if (this.random.below(4) === 0) await this.compare();
    }
    await this.settle();
    await this.log.close();
  }

  /** Everything is decided and old: of the markers only those are left that somebody needs. */
  private async settle(): Promise<void> {
    for (const [id, { epoch, open }] of this.producers()) if (open !== undefined) await this.endOne(id, epoch, "abort");
    for (let round = 0; round < 9; round++) {
      for (let n = 0; n < 12; n++) await this.append(9, 0, [["filler", "x".repeat(80)]], false);
      this.time.now += 2 * DELETE_RETENTION_MS;
      await this.log.maintain();
      await this.compare();
    }
    expect((await verifyLog(this.fileSystem, "/data", () => undefined)).problems).toEqual([]);
    const found = await this.found();
    const producers = this.producers();
    for (const [i, { id, first, isMarker, count }] of found.entries()) {
      if (!isMarker || first >= this.cleanedTo()) continue;
      const begun = found.slice(0, i).findLast((one) => one.id === id);
      const endsSomething = begun?.isTransactional === true && !begun.isMarker;
      const alone = producers.get(id)?.lastData === undefined && this.modelAt(first).epoch === producers.get(id)?.epoch;
      if (alone && count === 1 && !endsSomething) met.markersAlone++;
      if (count === 0) met.markersEmpty++;
      expect([first, endsSomething || alone || count === 0]).toEqual([first, true]);
    }
    const markers = this.batches.filter(({ marker }) => marker !== undefined).length;
    met.markersGone += markers - found.filter(({ isMarker }) => isMarker).length;
  }

  private async appendOne(): Promise<void> {
    const id = 1 + this.random.below(PRODUCERS);
    const { epoch, open } = this.producers().get(id) ?? { epoch: 0, open: undefined };
    if (this.random.below(3) === 0) {
      const fences = this.random.below(5) === 0 ? 1 : 0;
      return this.endOne(id, epoch + fences, this.random.pick(["commit", "abort"] as const));
    }
    const made = Array.from({ length: 1 + this.random.below(3) }, (): [string, string | null] => {
      const value = `${this.count++} ${"x".repeat(this.random.below(40))}`;
      return [`k${this.random.below(this.random.below(3) === 0 ? 30 : 5)}`, this.random.below(5) === 0 ? null : value];
    });
    await this.append(id, epoch, made, open !== undefined || this.random.below(2) === 0);
  }

  private async append(id: number, epoch: number, made: ModelBatch["records"], transactional: boolean): Promise<void> {
    const sequence = this.producers().get(id)?.nextSequence ?? 0;
    const first = this.end();
    const batch = { first, last: first + made.length - 1, records: made, id, epoch, sequence, transactional, marker: undefined };
    expect(await this.topic.appendBatch(0, this.encoded(batch))).toMatchObject({ baseOffset: first, duplicate: false });
    this.batches.push(batch);
  }

  private encoded({ records: made, id, epoch, sequence, transactional }: ModelBatch): Buffer {
    const builder = new BatchBuilder();
    for (const [i, [key, value]] of made.entries()) {
      builder.append(
        { key: Buffer.from(key), value: value === null ? null : Buffer.from(value), headers: [], timestamp: this.time.now },
        i,
      );
    }
    builder.endBatch({ id: BigInt(id), epoch, baseSequence: sequence }, transactional ? BatchAttribute.transactional : 0);
    return Buffer.from(builder.bytes());
  }

  private async endOne(id: number, epoch: number, outcome: "commit" | "abort"): Promise<void> {
    const first = this.end();
    const coordinatorEpoch = 7;
    expect(await this.topic.endTransaction(0, { producerId: BigInt(id), epoch, coordinatorEpoch, outcome })).toBe(first);
    const marker = { outcome, coordinatorEpoch };
    this.batches.push({ first, last: first, records: [], id, epoch, sequence: -1, transactional: true, marker });
  }

  /** All was confirmed, so all is there; sometimes the batches alone have to say who the producers are. */
  private async restart(): Promise<void> {
    const how = this.random.pick(["close", "kill", "crash"] as const);
    met[how]++;
    if (this.random.below(3) === 0) {
      // cut down in the midst of a compaction
      const compacting = this.log.maintain();
      compacting.catch(() => undefined);
      for (let turns = this.random.below(120); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
      if (how === "close") await compacting;
    }
    if (how === "close") await this.log.close();
    else this.fileSystem = how === "crash" ? this.fileSystem.crash() : this.fileSystem.kill();
    await this.spoilSnapshots();
    await this.open();
    await this.compare();
  }

  /** The newest ones, or all. */
  private async spoilSnapshots(): Promise<void> {
    const names = (await this.fileSystem.list("/data/t-0")).filter((name) => name.endsWith(".snapshot")).toSorted();
    for (const name of names.slice(this.random.below(names.length + 1))) {
      met.snapshotsSpoilt++;
      const file = await this.fileSystem.open(`/data/t-0/${name}`, "write");
      await file.write(Buffer.from("?"), 0, 1, 0);
      await file.close();
    }
  }

  /** A producer that fails in its only transaction: another instance fences it, and never appends. */
  private async retire(): Promise<void> {
    const id = 20 + this.batches.length;
    await this.append(id, 0, [["k1", "of one that is gone"]], true);
    await this.endOne(id, 1, "abort");
  }

  private async compare(): Promise<void> {
    const found = await this.found();
    const producers = this.producers();
    const open = [...producers].flatMap(([id, { epoch, open }]) => (open === undefined ? [] : [{ id, epoch, first: open.first }]));
    const stable = Math.min(this.end(), ...open.map(({ first }) => first));
    expect([this.seed, this.topic.lastStableOffset(0)]).toEqual([this.seed, stable]);
    expect(await this.topic.openTransactions(0)).toEqual(
      open.toSorted((a, b) => a.first - b.first).map(({ id, epoch, first }) => ({ producerId: BigInt(id), epoch, firstOffset: first })),
    );
    this.compareMarkers(found, stable);
    await this.compareCommitted(stable);
    await this.compareAborted(found, stable);
    for (const [id, producer] of producers) await this.compareStanding(id, producer);
  }

  /** As long as a batch of a transaction is there, even an empty one, its marker is. */
  private compareMarkers(found: readonly Found[], stable: number): void {
    const there = new Set(found.map(({ first }) => first));
    for (const { first, last, id, isMarker, isTransactional, count } of found) {
      if (isMarker && count === 1 && first < this.cleanedTo()) met.markersWaiting++;
      if (isMarker || !isTransactional || last >= stable) continue;
      const marker = this.batches.find((one) => one.id === id && one.marker !== undefined && one.first > last);
      expect([this.seed, first, there.has(marker?.first as number)]).toEqual([this.seed, first, true]);
    }
  }

  private async compareCommitted(stable: number): Promise<void> {
    const reader = await this.reader("read_committed");
    const seen = new Map<string, string>();
    for (const { offset, key, value } of await readFrom(reader, 0, 1 + this.random.below(2000))) {
      const batch = this.modelAt(offset);
      expect([this.seed, offset, this.isAborted(batch)]).toEqual([this.seed, offset, false]);
      put(seen, String(key), value === null ? null : String(value));
    }
    await reader.close();
    const expected = new Map<string, string>();
    for (const batch of this.batches) {
      if (batch.last < stable && !this.isAborted(batch)) for (const [key, value] of batch.records) put(expected, key, value);
    }
    expect(seen, `seed ${this.seed}`).toEqual(expected);
  }

  private async compareAborted(found: readonly Found[], stable: number): Promise<void> {
    const said = await this.topic.abortedTransactions(0, 0, stable);
    for (const { producerId, lastOffset } of said) {
      const { id, marker } = this.modelAt(lastOffset);
      expect([id, marker?.outcome]).toEqual([Number(producerId), "abort"]);
    }
    for (const { id, first, last, isMarker, count } of found) {
      if (isMarker || last >= stable || count === 0 || !this.isAborted(this.modelAt(first))) continue;
      const covers = said.some((one) => Number(one.producerId) === id && one.firstOffset <= first && last < one.lastOffset);
      expect([this.seed, first, covers]).toEqual([this.seed, first, true]);
    }
    const aborted = this.batches.filter(({ marker, last }) => marker?.outcome === "abort" && last < stable).length;
    met.forgotten += aborted - said.length;
  }

  /** A batch that comes again, one that skips, and one of an instance that was replaced. */
  private async compareStanding(id: number, { epoch, nextSequence, lastData }: ModelProducer): Promise<void> {
    const skips = { first: 0, last: 0, records: [["a", "b"]] as const, id, epoch, sequence: nextSequence + 7, transactional: true };
    await expect(this.topic.appendBatch(0, this.encoded({ ...skips, marker: undefined }))).rejects.toMatchObject({
      code: "OUT_OF_ORDER_SEQUENCE",
    });
    if (lastData !== undefined) {
      expect(await this.topic.appendBatch(0, this.encoded(lastData))).toMatchObject({ baseOffset: lastData.first, duplicate: true });
    }
    if (epoch === 0) return;
    await expect(this.topic.appendBatch(0, this.encoded({ ...skips, epoch: epoch - 1, marker: undefined }))).rejects.toMatchObject({
      code: "PRODUCER_FENCED",
    });
  }

  /** Every batch of the log: what it holds must be what was appended there. */
  private async found(): Promise<Found[]> {
    const reader = await this.reader("read_uncommitted");
    const found: Found[] = [];
    for (let next = 0; next < reader.highWatermark(); ) {
      const bytes = await reader.read(next, 1 + this.random.below(2000));
      for (const at of batchPositions(bytes)) found.push(this.checked(bytes.subarray(at, at + batchBytesAt(bytes, at))));
      next = endOffsetOf(bytes) as number;
    }
    await reader.close();
    expect(found.map(({ first }) => first)).toEqual([...new Set(found.map(({ first }) => first))].toSorted((a, b) => a - b));
    return found;
  }

  private checked(bytes: Buffer): Found {
    const [first, last, id, isMarker] = [
      baseOffsetAt(bytes, 0),
      lastOffsetAt(bytes, 0),
      Number(producerIdAt(bytes, 0)),
      isControlAt(bytes, 0),
    ];
    const model = this.modelAt(first);
    expect([last, id, producerEpochAt(bytes, 0), baseSequenceAt(bytes, 0)]).toEqual([model.last, model.id, model.epoch, model.sequence]);
    expect([first, isMarker]).toEqual([first, model.marker !== undefined]);
    if (isMarker && countAt(bytes, 0) > 0) expect(markerAt(bytes, 0)).toEqual(model.marker);
    for (const { offset, key, value } of records(bytes)) {
      expect([String(key), value === null ? null : String(value)]).toEqual(model.records[offset - first]);
    }
    const isTransactional = (attributesAt(bytes, 0) & BatchAttribute.transactional) !== 0;
    return { first, last, id, isMarker, isTransactional, count: countAt(bytes, 0) };
  }

  private producers(): Map<number, ModelProducer> {
    const producers = new Map<number, ModelProducer>();
    for (const batch of this.batches) {
      const { id, epoch, marker, transactional, sequence, records: made } = batch;
      let producer = producers.get(id);
      if (producer === undefined || producer.epoch !== epoch) {
        producer = { epoch, nextSequence: 0, open: producer?.open, lastData: undefined };
        producers.set(id, producer);
      }
      if (marker !== undefined) producer.open = undefined;
      else {
        producer.nextSequence = sequence + made.length;
        producer.lastData = batch;
        if (transactional) producer.open ??= batch;
      }
    }
    return producers;
  }

  private isAborted({ id, first, transactional, marker }: ModelBatch): boolean {
    if (!transactional || marker !== undefined) return false;
    return this.batches.find((one) => one.id === id && one.marker !== undefined && one.first > first)?.marker?.outcome === "abort";
  }

  private modelAt(offset: number): ModelBatch {
    let [low, high] = [0, this.batches.length - 1];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.batches[middle] as ModelBatch).last < offset) low = middle + 1;
      else high = middle;
    }
    return this.batches[low] as ModelBatch;
  }

  private end(): number {
    return (this.batches.at(-1)?.last ?? -1) + 1;
  }

  private cleanedTo(): number {
    return (this.catalog.entries.get("partition:t-0") as { readonly cleaned: number }).cleaned;
  }

  private reader(isolation: Isolation): Promise<PartitionReader> {
    return this.log.openReader(this.topic.description.partitions[0] as never, { isolation });
  }

  private async open(): Promise<void> {
    const { fileSystem, catalog } = this;
    const after: typeof systemClock.after = (ms, then) => (ms === ALL_DAY ? { cancel() {} } : systemClock.after(ms, then));
    const clock = { ...systemClock, now: () => this.time.now, after };
    this.log = await openEmbeddedLog(logOptions("/data", { fileSystem, catalog, clock, maintenanceIntervalMs: ALL_DAY }));
    const config = {
      cleanupPolicy: "compact",
      segmentBytes: 700,
      minCleanableDirtyRatio: 0,
      deleteRetentionMs: DELETE_RETENTION_MS,
    } as const;
    await this.log.createTopic("t", { partitions: 1, ...config });
    this.topic = this.log.topic("t") as EmbeddedTopic;
  }
}

function put(map: Map<string, string>, key: string, value: string | null): void {
  if (value === null) map.delete(key);
  else map.set(key, value);
}

const seeds = Number(process.env.MILLRACE_SEEDS ?? 6);

describe("transactions on a compacted topic, through crashes", () => {
  test.each(Array.from({ length: seeds }, (_, i) => 300 + i))(
    "are read as a plain model says, and their markers go with them (seed %i)",
    async (seed) => {
      await new CompactedTransactions(seed).run(90);
    },
  );
});

test("everything that the model can do was met", () => {
  for (const [what, times] of Object.entries(met)) expect([what, times]).not.toEqual([what, 0]);
});
