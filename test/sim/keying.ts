/** Compacted topics: what is appended to them by key, alone, by idempotent producers and in transactions, and who reads it meanwhile. */
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { Isolation, PartitionReader } from "../../src/log/contract/partitionedLog.ts";
import { BatchBuilder, noProducer } from "../../src/record/batchBuilder.ts";
import { BatchAttribute } from "../../src/record/batchHeader.ts";
import { Receipt } from "../../src/record/receipt.ts";
import type { NewRecord } from "../../src/record/record.ts";
import { type KeyedAppend, type KeyedConfig, KeyedModel, type KeyedRecord, type KeyedTransaction, markHeader } from "./keyedModel.ts";
import { batchesOf, type KeyedBatch, readBatches } from "./keyedReading.ts";
import type { Ended } from "./partitionModel.ts";
import { valueOf } from "./partitionModel.ts";
import { demand } from "./violation.ts";
import { codeOf, type Operation, unexpected, type World } from "./world.ts";

interface Producer {
  readonly id: number;
  readonly isTransactional: boolean;
  epoch: number;
  sequence: number;
  /** What it has appended in this epoch, in order; sent again until it is kept. */
  history: KeyedAppend[];
  busy: boolean;
  current: KeyedTransaction | undefined;
}

interface OpenReader {
  readonly topic: KeyedTopic;
  readonly reader: PartitionReader;
  readonly isolation: Isolation;
  next: number;
}

const hourMs = 3_600_000;
const readersMax = 4;
/** What an append may fail with, and whether it is then surely not there. */
const failures: Readonly<Record<string, "refused" | "unknown">> = {
  LOG_FAILED: "unknown",
  LOG_DISK_FULL: "refused",
  LOG_CLOSED: "unknown",
  KEYED_STORE_FAILED: "unknown",
};

class KeyedTopic {
  readonly model: KeyedModel;
  readonly producers: Producer[] = [11, 12, 13].map((id, i) => ({
    id,
    isTransactional: i > 0,
    epoch: 0,
    sequence: 0,
    history: [],
    busy: false,
    current: undefined,
  }));
  /** Counted up when the partition is cut: what was read meanwhile says nothing. */
  cuts = 0;

  constructor(
    readonly name: string,
    readonly config: KeyedConfig,
    note: (what: string) => void,
  ) {
    this.model = new KeyedModel(`${name}-0`, config, note);
  }
}

export class Keying {
  readonly topics: readonly KeyedTopic[];
  private open: OpenReader[] = [];

  constructor(private readonly world: World) {
    const note = (what: string): void => world.note(what);
    const common = { partitions: 1, segmentBytes: 1500, minCleanableDirtyRatio: 0.2, retentionMs: -1 } as const;
    const table = {
      ...common,
      cleanupPolicy: "compact",
      sync: { kind: "always" },
      deleteRetentionMs: 2 * hourMs,
      minCompactionLagMs: 0,
    } as const;
    const aged = { cleanupPolicy: "compact,delete", retentionMs: 30 * hourMs, sync: { kind: "interval", ms: 20 } } as const;
    this.topics = [
      new KeyedTopic("table", table, note),
      new KeyedTopic("aged-table", { ...table, ...aged, deleteRetentionMs: hourMs, minCompactionLagMs: 500 }, note),
    ];
  }

  get operations(): readonly Operation[] {
    return [
      { name: "append records by key", weight: 6, run: () => this.singles() },
      { name: "append keys as an idempotent producer", weight: 4, run: () => this.asProducer(false) },
      { name: "append keys again", weight: 1, run: () => this.again() },
      { name: "append keys in a transaction", weight: 4, run: () => this.asProducer(true) },
      { name: "end a transaction of keys", weight: 3, run: () => this.end() },
      { name: "read on in a compacted topic", weight: 5, run: () => this.read() },
      { name: "compact", weight: 3, run: () => this.compact() },
      { name: "search a compacted topic by time", weight: 1, run: () => this.search() },
    ];
  }

  async create(): Promise<void> {
    for (const { name, config } of this.topics) await this.world.node.log.createTopic(name, config);
    this.watch();
  }

  /** Of a topic's folder or a file in it. */
  topicOf(file: string): KeyedTopic | undefined {
    return this.topics.find(({ name }) => file.includes(`/${name}-0/`));
  }

  stopped(): void {
    for (const { model } of this.topics) model.synced();
  }

  // ---- appends

  private singles(): void {
    const topic = this.world.random.pick(this.topics);
    const { life } = this.world;
    for (let count = 1 + this.world.random.below(6); count > 0; count--) {
      const append = this.make(1, undefined, undefined);
      topic.model.sent(append);
      const receipt = new Receipt((failure) => {
        if (life === this.world.life) this.checked(() => this.settled(topic, append, failure));
      });
      try {
        append.base = this.log(topic).append(0, asNewRecord(append.records[0] as KeyedRecord), receipt);
      } catch (error) {
        this.settled(topic, append, error);
        continue; // what throws joins nothing
      }
      receipt.seal();
    }
  }

  private async asProducer(inTransaction: boolean): Promise<void> {
    const { random } = this.world;
    const topic = random.pick(this.topics);
    const producer = random.pick(topic.producers.filter(({ isTransactional }) => isTransactional === inTransaction));
    if (producer.busy || producer.current?.outcome !== undefined) return;
    const failed = producer.history.find(({ fate }) => fate !== "kept");
    if (failed !== undefined && inTransaction) return; // it is to be aborted
    let append = failed;
    if (append === undefined) {
      const count = 1 + random.below(random.below(5) === 0 ? 10 : 4);
      if (inTransaction) producer.current ??= { outcome: undefined, ended: false, appends: [] };
      const sequenced = { producer: String(producer.id), epoch: producer.epoch, firstSequence: producer.sequence };
      append = this.make(count, sequenced, producer.current);
      producer.sequence += count;
      producer.history.push(append);
      producer.current?.appends.push(append);
      topic.model.sent(append);
    } else {
      append.unclear ||= append.fate === "unknown";
      append.fate = "open";
    }
    await this.wait(this.send(topic, producer, append));
  }

  /** The last one, that is there, maybe without its records. */
  private async again(): Promise<void> {
    const topic = this.world.random.pick(this.topics);
    const [producer] = topic.producers as [Producer, ...Producer[]];
    const last = producer.history.at(-1);
    if (producer.busy || last?.fate !== "kept" || producer.history.some(({ fate }) => fate !== "kept")) return;
    await this.wait(this.send(topic, producer, last));
  }

  private send(topic: KeyedTopic, producer: Producer, append: KeyedAppend): Promise<void> {
    const { life } = this.world;
    const { model } = topic;
    producer.busy = true;
    const { cuts } = topic;
    const settle = (check: () => void): void => {
      if (life !== this.world.life) return;
      producer.busy = producer.isTransactional && cuts !== topic.cuts;
      this.checked(check);
    };
    this.world.trace(() => `append ${append.id} of ${append.records.length} records to ${model.where} ${JSON.stringify(append.sequenced)}`);
    return this.log(topic)
      .appendBatch(0, encoded(append))
      .then(
        ({ baseOffset }) => settle(() => model.kept(append, baseOffset, this.world.now())),
        (error: unknown) =>
          settle(() => {
            // what was confirmed and not synced was cut off with its sequence
            const wasCut = codeOf(error) === "OUT_OF_ORDER_SEQUENCE" && this.world.troubled && topic.config.sync.kind !== "always";
            if (!wasCut) return this.settled(topic, append, error);
            this.failed(append, "refused");
          }),
      );
  }

  private settled(topic: KeyedTopic, append: KeyedAppend, failure: unknown): void {
    const { model } = topic;
    if (failure === undefined) return model.kept(append, append.base as number, this.world.now());
    const fate = failures[codeOf(failure)];
    const isExplained = this.world.troubled || codeOf(failure) === "LOG_CLOSED";
    if (fate === undefined || !isExplained) throw unexpected(`append ${append.id} to ${model.where}`, failure);
    this.failed(append, fate);
  }

  private failed(append: KeyedAppend, fate: "refused" | "unknown"): void {
    if (append.fate === "kept" || append.fate === "gone") return;
    append.unclear ||= fate === "unknown";
    append.fate = append.unclear ? "unknown" : "refused";
    append.base = undefined;
  }

  private async end(): Promise<void> {
    const { random, life } = this.world;
    const topic = random.pick(this.topics);
    const producer = topic.producers.find(({ current, busy }) => current !== undefined && !busy);
    const current = producer?.current;
    if (producer === undefined || current === undefined) return;
    const broken = current.appends.some(({ fate }) => fate !== "kept");
    if (broken && current.outcome === undefined) producer.epoch++; // fences whatever is still on its way
    current.outcome ??= broken || random.below(3) === 0 ? "abort" : "commit";
    const { outcome } = current;
    producer.busy = true;
    const { cuts } = topic;
    const answered = (): boolean => {
      if (life !== this.world.life) return false;
      producer.busy = cuts !== topic.cuts;
      return true;
    };
    const ended = this.log(topic)
      .endTransaction(0, { producerId: BigInt(producer.id), epoch: producer.epoch, coordinatorEpoch: 1, outcome })
      .then(
        () => {
          if (!answered()) return;
          this.world.note(`a transaction of keys ends with ${outcome}`);
          current.ended = true;
          producer.current = undefined;
          producer.history = [];
          if (broken) producer.sequence = 0;
        },
        (error: unknown) => {
          if (!answered()) return;
          const isExplained = this.world.troubled && failures[codeOf(error)] !== undefined;
          if (!isExplained) this.world.report(unexpected("ending a transaction of keys", error));
        },
      );
    await this.wait(ended);
  }

  private make(count: number, sequenced: KeyedAppend["sequenced"], transaction: KeyedTransaction | undefined): KeyedAppend {
    const { random } = this.world;
    const id = this.world.nextId();
    const now = this.world.now();
    const records: KeyedRecord[] = [];
    const append: KeyedAppend = {
      id,
      records,
      sequenced,
      transaction,
      sentAtMs: now.ms,
      base: undefined,
      fate: "open",
      unclear: false,
      durable: false,
      keptAt: now,
    };
    for (let index = 0; index < count; index++) {
      const key = `k${random.below(random.pick([5, 12, 60, 1000]))}`;
      const value = random.below(3) === 0 ? null : valueOf(id, index, random.below(random.below(8) === 0 ? 600 : 60));
      records.push({ append, index, key, value, timestamp: now.ms - random.below(400), goneIn: undefined });
    }
    return append;
  }

  private async compact(): Promise<void> {
    const outcome = await this.world.until(this.world.node.log.maintain());
    if (outcome?.error !== undefined) throw unexpected("compacting", outcome.error);
    this.followStarts();
  }

  // ---- readers

  private async reader(): Promise<OpenReader | undefined> {
    const { random, node } = this.world;
    if (this.open.length > 0 && (this.open.length >= readersMax || random.below(3) > 0)) {
      if (random.below(12) > 0) return random.pick(this.open);
      const [closed] = this.open.splice(random.below(this.open.length), 1);
      await this.world.until((closed as OpenReader).reader.close());
      return undefined;
    }
    const topic = random.pick(this.topics);
    const isolation = random.pick<Isolation>(["read_uncommitted", "read_committed"]);
    const [descriptor] = this.log(topic).description.partitions;
    const reader = await node.log.openReader(descriptor as NonNullable<typeof descriptor>, { isolation });
    const opened = { topic, reader, isolation, next: reader.startOffset() };
    this.open.push(opened);
    return opened;
  }

  private async read(): Promise<void> {
    const one = await this.reader();
    if (one === undefined) return;
    const { random } = this.world;
    const { reader, topic, isolation } = one;
    const [start, end] = [reader.startOffset(), reader.highWatermark()];
    if (one.next < start || one.next >= end) one.next = start + random.below(Math.max(1, end - start));
    const from = one.next;
    const { cuts } = topic;
    const began = this.world.now();
    const outcome = await this.world.until(reader.read(from, 1 + random.below(3000)));
    if (outcome === undefined || cuts !== topic.cuts) return;
    if (outcome.error !== undefined) return this.checkFailure(one, from, outcome.error);
    const batches = batchesOf(outcome.value);
    demand(batches.length > 0 || from >= end, () => `${topic.model.where}: nothing is read at ${from}, below the end at ${end}`);
    const to = batches.at(-1)?.next ?? from;
    this.followStarts();
    const found = batches.flatMap(({ records }) => records).filter(({ offset }) => offset >= topic.model.startOffset);
    const now = this.world.now();
    const covered = Math.max(from, topic.model.startOffset);
    if (isolation === "read_committed") topic.model.readCommitted(found, covered, to, began, now);
    else topic.model.read(found, covered, to, began, now);
    one.next = to;
  }

  private async search(): Promise<void> {
    const one = await this.reader();
    if (one === undefined || one.isolation === "read_committed") return;
    const { reader, topic } = one;
    const timestamp = this.world.now().ms - this.world.random.below(this.world.random.pick([2000, 10 * hourMs]));
    const [from, to, { cuts }] = [reader.startOffset(), reader.highWatermark(), topic];
    const outcome = await this.world.until(reader.offsetForTimestamp(timestamp));
    if (outcome === undefined || cuts !== topic.cuts) return;
    if (outcome.error !== undefined) return this.checkFailure(one, undefined, outcome.error);
    if (this.world.troubled && topic.config.sync.kind !== "always") return; // it may be cut, and nobody told yet
    this.followStarts();
    topic.model.foundTimestamp(timestamp, outcome.value, Math.max(from, topic.model.startOffset), to, this.world.now());
  }

  private checkFailure({ reader, topic }: OpenReader, from: number | undefined, error: unknown): void {
    const code = codeOf(error);
    const { cleanupPolicy, sync } = topic.config;
    const isOut = from === undefined || from < reader.startOffset() || from > reader.highWatermark();
    if (code === "OFFSET_OUT_OF_RANGE" && cleanupPolicy === "compact,delete" && isOut) return;
    if (code === "LOG_CORRUPT" && this.world.troubled && sync.kind !== "always") return; // cut, and nobody was told yet
    if (code === "LOG_READ_FAILED" && this.world.troubled) return this.world.note("a read of a compacted topic fails and says so");
    throw unexpected(`reading ${topic.model.where} at ${from}`, error);
  }

  // ---- after a start

  /** The process that had them open is dead. @param damaged a bit is flipped in this log */
  async started(damaged: string | undefined, endedOf: (topic: KeyedTopic) => Ended): Promise<readonly string[]> {
    this.open = [];
    this.watch();
    const refusals: string[] = [];
    for (const topic of this.topics) {
      if (damaged !== undefined && this.topicOf(damaged) === topic) await this.lookAtDamaged(topic, refusals);
      else await this.look(topic, endedOf(topic));
    }
    return refusals;
  }

  private watch(): void {
    const { life } = this.world;
    for (const topic of this.topics) {
      this.log(topic).onCut((_, offset) => {
        if (life !== this.world.life) return;
        topic.cuts++;
        this.world.note("a compacted partition is cut back after a failure");
        // the end of a transaction may be taken back too: their coordinator comes back with the next process
        for (const producer of topic.producers) if (producer.isTransactional) producer.busy = true;
        this.checked(() => topic.model.cut(offset));
      });
    }
  }

  private async look(topic: KeyedTopic, ended: Ended): Promise<void> {
    const log = this.log(topic);
    const began = log.startOffset(0);
    const batches = await this.readAll(topic);
    const start = log.startOffset(0);
    if (start !== began) return this.look(topic, ended); // retention goes on meanwhile
    topic.model.started(batches, start, log.endOffset(0), ended, this.world.now());
    const open = this.checkEnds(topic, batches, ended);
    await this.checkOpen(topic, open, start);
    for (const producer of topic.producers) this.takeUp(topic, producer, batches, open.get(producer.id));
  }

  /** The log says the same of what is open. One whose batches all went with their age is aborted like the others. */
  private async checkOpen(topic: KeyedTopic, open: Map<number, KeyedTransaction>, start: number): Promise<void> {
    const asked = await this.log(topic).openTransactions(0);
    for (const { producerId, firstOffset } of asked) {
      if (firstOffset >= start || open.has(Number(producerId))) continue;
      open.set(Number(producerId), { outcome: "abort", ended: false, appends: [] });
    }
    const ids = asked.map(({ producerId }) => Number(producerId)).sort();
    const expected = [...open.keys()].sort();
    demand(ids.join() === expected.join(), () => `${topic.name} has open transactions of ${ids.join()}, and not of ${expected.join()}`);
  }

  /** Each transaction ended as it was asked to. @returns the open ones, by their producers */
  private checkEnds(topic: KeyedTopic, batches: readonly KeyedBatch[], ended: Ended): Map<number, KeyedTransaction> {
    const open = new Map<number, KeyedTransaction>();
    for (const { producer, isMarker, isTransactional, outcome, records } of batches) {
      const transaction = open.get(Number(producer));
      if (isMarker) {
        demand(
          transaction === undefined || transaction.outcome === outcome,
          () => `${topic.name} has a marker to ${outcome} of ${producer}, where ${transaction?.outcome} was asked for`,
        );
        open.delete(Number(producer));
      } else if (isTransactional && records.length > 0) {
        const found = topic.model.recognised(records[0] as (typeof records)[number]).append.transaction;
        if (found !== undefined) open.set(Number(producer), found);
      }
    }
    const mayLose = ended.saidCut() || (ended.powerLost && topic.config.sync.kind !== "always");
    for (const [producer, { ended: wasEnded }] of open) {
      demand(!wasEnded || mayLose, () => `the end of a transaction of ${producer} in ${topic.name} is lost`);
    }
    return open;
  }

  private takeUp(topic: KeyedTopic, producer: Producer, batches: readonly KeyedBatch[], open: KeyedTransaction | undefined): void {
    producer.busy = false;
    producer.history = [];
    if (producer.isTransactional) {
      producer.epoch++;
      producer.sequence = 0;
      producer.current = open;
      if (open === undefined) return;
      this.world.note("a transaction of keys is open after a start");
      open.ended = false; // with a policy that may lose the end of the log
      open.outcome ??= "abort";
      return;
    }
    const kept = topic.model.ofProducer(String(producer.id));
    const last = kept.at(-1);
    if (last === undefined) {
      producer.epoch++;
      producer.sequence = 0;
      return;
    }
    demand(
      batches.some(({ base }) => base === last.base),
      () => `${topic.name} does not hold the last batch of producer ${producer.id}, at offset ${last.base}`,
    );
    producer.epoch = last.sequenced?.epoch as number;
    producer.sequence = (last.sequenced?.firstSequence as number) + last.records.length;
    producer.history = kept.filter(({ sequenced }) => sequenced?.epoch === producer.epoch);
  }

  /** What is served is right. */
  private async lookAtDamaged(topic: KeyedTopic, refusals: string[]): Promise<void> {
    const batches = await this.readAll(topic, (error) => {
      if (codeOf(error) !== "LOG_CORRUPT") return false;
      refusals.push(String((error as { toText?(): string }).toText?.() ?? error));
      return true;
    });
    for (const { records } of batches) for (const record of records) topic.model.recognised(record);
  }

  private async readAll(topic: KeyedTopic, tolerated?: (error: unknown) => boolean): Promise<KeyedBatch[]> {
    const [descriptor] = this.log(topic).description.partitions;
    const reader = await this.world.node.log.openReader(descriptor as NonNullable<typeof descriptor>);
    const batches = await readBatches(reader, reader.startOffset(), tolerated);
    await reader.close();
    return batches;
  }

  // ---- within

  private followStarts(): void {
    for (const topic of this.topics) topic.model.startMoved(this.log(topic).startOffset(0), this.world.now().ms);
  }

  private log({ name }: KeyedTopic): EmbeddedTopic {
    const log = this.world.node.log.topic(name);
    demand(log !== undefined, () => `topic ${name} is not there`);
    return log;
  }

  /** Waits for it, or goes on while it is under way. */
  private async wait(sent: Promise<void>): Promise<void> {
    if (this.world.random.below(2) === 0) await this.world.until(sent);
  }

  private checked(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.world.report(error);
    }
  }
}

const asNewRecord = ({ append, index, key, value, timestamp }: KeyedRecord): NewRecord => ({
  key: Buffer.from(key),
  value,
  headers: [{ key: markHeader, value: Buffer.from(`${append.id}.${index}`) }],
  timestamp,
});

function encoded({ records, sequenced, transaction }: KeyedAppend): Buffer {
  const builder = new BatchBuilder();
  for (const record of records) builder.append(asNewRecord(record), record.index);
  const producer =
    sequenced === undefined
      ? noProducer
      : { id: BigInt(sequenced.producer), epoch: sequenced.epoch, baseSequence: sequenced.firstSequence };
  builder.endBatch(producer, 0, transaction === undefined ? 0 : BatchAttribute.transactional);
  return Buffer.from(builder.bytes());
}
