/** Compacted topics: what is appended to them by key, alone, by idempotent producers and in transactions, and who reads it meanwhile. */
import { BatchBuilder, noProducer } from "../../src/record/batchBuilder.ts";
import { BatchAttribute } from "../../src/record/batchHeader.ts";
import { Receipt } from "../../src/record/receipt.ts";
import type { NewRecord } from "../../src/record/record.ts";
import { type KeyedAppend, type KeyedRecord, type KeyedTransaction, markHeader } from "./keyedModel.ts";
import { KeyedReaders } from "./keyedReaders.ts";
import { KeyedStart } from "./keyedStart.ts";
import { type KeyedProducer, KeyedTopic } from "./keyedTopic.ts";
import { type Ended, valueOf } from "./partitionModel.ts";
import { codeOf, type Operation, unexpected, type World } from "./world.ts";

const hourMs = 3_600_000;
/** What an append may fail with, and whether it is then surely not there. */
const failures: Readonly<Record<string, "refused" | "unknown">> = {
  LOG_FAILED: "unknown",
  LOG_DISK_FULL: "refused",
  LOG_NOT_OPENED: "refused",
  LOG_CLOSED: "unknown",
  KEYED_STORE_FAILED: "unknown",
  KEYED_STORE_UNAVAILABLE: "refused",
};

export class Keying {
  readonly topics: readonly KeyedTopic[];
  private readonly readers: KeyedReaders;
  private readonly start: KeyedStart;

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
    this.readers = new KeyedReaders(world, this.topics);
    this.start = new KeyedStart(world);
  }

  get operations(): readonly Operation[] {
    return [
      { name: "append records by key", weight: 6, run: () => this.singles() },
      { name: "append keys as an idempotent producer", weight: 4, run: () => this.asProducer(false) },
      { name: "append keys again", weight: 1, run: () => this.again() },
      { name: "append keys in a transaction", weight: 4, run: () => this.asProducer(true) },
      { name: "end a transaction of keys", weight: 3, run: () => this.end() },
      { name: "compact", weight: 3, run: () => this.compact() },
      ...this.readers.operations,
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
        append.base = topic.log(this.world).append(0, asNewRecord(append.records[0] as KeyedRecord), receipt);
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
    const [producer] = topic.producers as [KeyedProducer, ...KeyedProducer[]];
    const last = producer.history.at(-1);
    if (producer.busy || last?.fate !== "kept" || producer.history.some(({ fate }) => fate !== "kept")) return;
    await this.wait(this.send(topic, producer, last));
  }

  private send(topic: KeyedTopic, producer: KeyedProducer, append: KeyedAppend): Promise<void> {
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
    return topic
      .log(this.world)
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
    const ended = topic
      .log(this.world)
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
    for (const topic of this.topics) topic.followStart(this.world);
  }

  // ---- after a start

  /**
   * @param damaged the file in which something is damaged
   * @returns what the reads said that failed
   */
  async started(damaged: string | undefined, endedOf: (topic: KeyedTopic) => Ended): Promise<readonly string[]> {
    this.readers.started();
    this.watch();
    const refusals: string[] = [];
    for (const topic of this.topics) {
      if (damaged !== undefined && this.topicOf(damaged) === topic) await this.start.lookAtDamaged(topic, refusals);
      else await this.start.look(topic, endedOf(topic));
    }
    return refusals;
  }

  private watch(): void {
    const { life } = this.world;
    for (const topic of this.topics) {
      topic.log(this.world).onCut((_, offset) => {
        if (life !== this.world.life) return;
        topic.cuts++;
        this.world.note("a compacted partition is cut back after a failure");
        // the end of a transaction may be taken back too: their coordinator comes back with the next process
        for (const producer of topic.producers) if (producer.isTransactional) producer.busy = true;
        this.checked(() => topic.model.cut(offset));
      });
    }
  }

  // ---- within

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
  builder.endBatch(producer, transaction === undefined ? 0 : BatchAttribute.transactional);
  return Buffer.from(builder.bytes());
}
