/** Appends of every kind: single records, batches, batches as a producer encoded them, idempotent ones and their retries. */
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { Receipt } from "../../src/record/receipt.ts";
import type { NewRecord } from "../../src/record/record.ts";
import { type Appended, type PartitionModel, type Sequenced, valueOf } from "./partitionModel.ts";
import type { ProducerModel, TopicModel } from "./topicModel.ts";
import { demand, Violation } from "./violation.ts";
import { codeOf, endTurnsMax, type Operation, unexpected, type World } from "./world.ts";

interface Place {
  readonly topic: TopicModel;
  readonly partition: number;
  readonly model: PartitionModel;
  readonly log: EmbeddedTopic;
}

/** What an append may fail with, and whether it is then surely not there. */
const failures: Readonly<Record<string, "refused" | "unknown">> = {
  LOG_FAILED: "unknown",
  LOG_DISK_FULL: "refused",
  LOG_NOT_OPENED: "refused",
  LOG_CLOSED: "unknown",
  TOPIC_DELETED: "unknown",
  KEYED_STORE_FAILED: "unknown",
  KEYED_STORE_UNAVAILABLE: "refused",
};

export class Appending {
  constructor(
    private readonly world: World,
    private readonly topics: ReadonlyMap<string, TopicModel>,
  ) {}

  get operations(): readonly Operation[] {
    return [
      { name: "append single records", weight: 14, run: () => this.singles() },
      { name: "append a batch by name", weight: 3, run: () => this.raw() },
      { name: "append a batch that is damaged", weight: 1, run: () => this.damaged() },
      { name: "append as an idempotent producer", weight: 8, run: () => this.asProducer() },
      { name: "append again what was appended", weight: 3, run: () => this.again() },
      { name: "append with a new epoch", weight: 1, run: () => this.newEpoch() },
      { name: "append with an old epoch", weight: 1, run: () => this.oldEpoch() },
      { name: "append what is too large", weight: 1, run: () => this.tooLarge() },
    ];
  }

  /** A stream's record, made by the broker; it has one partition. */
  ofMessage(topic: TopicModel, id: number, value: Buffer): Appended {
    const append = this.make(id, [value], [this.world.now().ms], undefined);
    (topic.partitions[0] as PartitionModel).sent(append);
    return append;
  }

  /** One record to a partition. @returns why it was not kept */
  one(topic: TopicModel, partition: number): Promise<unknown> {
    const { node, life } = this.world;
    const log = node.log.topic(topic.name);
    demand(log !== undefined, () => `topic ${topic.name} is not there`);
    const model = topic.partitions[partition] as PartitionModel;
    const id = this.world.nextId();
    const append = this.make(id, [valueOf(id, 0, 20)], this.timestamps(topic, 1), undefined);
    return new Promise((settled) => {
      const answered = (failure: unknown): void => {
        this.later(life, () => this.settled(model, append, failure));
        settled(failure);
      };
      const receipt = new Receipt(answered);
      try {
        append.base = log.append(partition, this.recordsOf(append)[0] as NewRecord, receipt);
        model.sent(append);
      } catch (error) {
        model.sent(append);
        return answered(error);
      }
      receipt.seal();
    });
  }

  get appendable(): TopicModel[] {
    return [...this.topics.values()].filter(({ existence, isStream }) => existence === "there" && !isStream);
  }

  /** @param timesCut as it was when the try was sent; nothing was cut of what is new. */
  settled(model: PartitionModel, append: Appended, failure: unknown, timesCut = 0): void {
    if (failure === undefined) return model.kept(append, this.world.now(), timesCut);
    const fate = failures[codeOf(failure)];
    if (fate === undefined || !this.explained(codeOf(failure))) throw unexpected(`append ${append.id} to ${model.where}`, failure);
    this.world.note(`an append fails with ${codeOf(failure)}`);
    model.failed(append, fate);
  }

  private explained(code: string): boolean {
    return this.world.troubled || code === "TOPIC_DELETED" || code === "LOG_CLOSED";
  }

  /** Several batches at once to one partition. Resolves when all of them are answered. */
  async burst(): Promise<void> {
    const place = this.place(({ config }) => config.sync.kind === "always");
    if (place === undefined) return;
    await Promise.all(
      Array.from({ length: 2 + this.world.random.below(4) }, () => {
        const append = this.batch(place.topic);
        place.model.sent(append);
        return this.sendRaw(place, append, undefined);
      }),
    );
  }

  private place(suits: (topic: TopicModel) => boolean = () => true): Place | undefined {
    const { random, node } = this.world;
    const there = this.appendable.filter(suits);
    if (there.length === 0) return undefined;
    const topic = random.pick(there);
    const log = node.log.topic(topic.name);
    demand(log !== undefined, () => `topic ${topic.name} is not there`);
    const partition = random.below(topic.partitions.length);
    return { topic, partition, log, model: topic.partitions[partition] as PartitionModel };
  }

  private make(id: number, values: readonly Buffer[], timestamps: (number | undefined)[], sequenced: Sequenced | undefined): Appended {
    const isStamped = timestamps.includes(undefined);
    const keptAt = this.world.now();
    return {
      id,
      values,
      timestamps,
      isStamped,
      sequenced,
      base: undefined,
      fate: "open",
      unclear: false,
      durable: false,
      keptAt,
      timesCut: 0,
    };
  }

  private batch(topic: TopicModel, producer?: ProducerModel): Appended {
    const { random } = this.world;
    const id = this.world.nextId();
    const count = 1 + random.below(random.below(4) === 0 ? 12 : 4);
    const large = (topic.config.maxMessageBytes ?? 0) - 1000;
    const values =
      large > 0 && random.below(3) === 0
        ? [valueOf(id, 0, random.below(large))]
        : Array.from({ length: count }, (_, i) => valueOf(id, i, random.below(random.below(6) === 0 ? 1200 : 80)));
    return this.make(id, values, this.timestamps(topic, values.length), producer?.sequenced(values.length));
  }

  /** Times of the producers' own are in no order. */
  private timestamps(topic: TopicModel, count: number): (number | undefined)[] {
    if (topic.config.timestampType === "LogAppendTime") return Array.from({ length: count }, () => undefined);
    return Array.from({ length: count }, () => this.world.now().ms - this.world.random.below(1000));
  }

  private recordsOf(append: Appended): NewRecord[] {
    return append.values.map((value, i) => ({ key: null, value, headers: [], timestamp: append.timestamps[i] ?? 0 }));
  }

  private singles(): void {
    const place = this.place();
    if (place === undefined) return;
    const { topic, partition, model, log } = place;
    const { life } = this.world;
    for (let count = 1 + this.world.random.below(8); count > 0; count--) {
      const id = this.world.nextId();
      const { random } = this.world;
      const append = this.make(
        id,
        [valueOf(id, 0, random.below(random.below(8) === 0 ? 1500 : 120))],
        this.timestamps(topic, 1),
        undefined,
      );
      const receipt = new Receipt((failure) => this.later(life, () => this.settled(model, append, failure)));
      try {
        append.base = log.append(partition, this.recordsOf(append)[0] as NewRecord, receipt);
        model.sent(append);
      } catch (error) {
        model.sent(append);
        this.settled(model, append, error);
        continue; // what throws joins nothing
      }
      receipt.seal();
    }
  }

  private async raw(): Promise<void> {
    const place = this.place();
    if (place === undefined) return;
    const append = this.batch(place.topic);
    place.model.sent(append);
    await this.wait(this.sendRaw(place, append, undefined));
  }

  private async damaged(): Promise<void> {
    const place = this.place();
    if (place === undefined) return;
    const append = this.batch(place.topic);
    append.fate = "refused";
    place.model.sent(append);
    const bytes = encodeBatch(this.recordsOf(append));
    const at = 21 + this.world.random.below(bytes.length - 21);
    bytes[at] = (bytes[at] as number) ^ (1 << this.world.random.below(8));
    const outcome = await this.world.until(place.log.appendBatch(place.partition, bytes));
    if (outcome === undefined) return;
    const accepted = ["BATCH_CORRUPT", "BATCH_TRUNCATED", ...Object.keys(failures)];
    if (!accepted.includes(codeOf(outcome.error))) throw new Violation(`a damaged batch was not refused, but ${codeOf(outcome.error)}`);
  }

  private tooLarge(): void {
    const place = this.place();
    if (place === undefined) return;
    const append = this.make(this.world.nextId(), [Buffer.alloc(1 << 18)], [0], undefined);
    try {
      place.log.append(place.partition, this.recordsOf(append)[0] as NewRecord, undefined);
    } catch (error) {
      if (["RECORD_TOO_LARGE", ...Object.keys(failures)].includes(codeOf(error))) return;
      throw unexpected("a record that is too large", error);
    }
    throw new Violation("a record that is too large was taken");
  }

  // ---- idempotent producers

  private async asProducer(): Promise<void> {
    const place = this.place();
    const producer = place && this.producerOf(place);
    if (place === undefined || producer === undefined) return;
    const first = producer.history.find(({ fate }) => fate === "unknown" || fate === "refused");
    if (first === undefined && producer.history.filter(({ fate }) => fate === "open").length >= 4) return;
    const append = first ?? this.batch(place.topic, producer);
    if (first === undefined) {
      producer.history.push(append);
      place.model.sent(append);
    } else {
      this.world.note("a batch that failed is sent again");
      place.model.sentAgain(append);
      append.fate = "open";
    }
    await this.wait(this.send(place, producer, append));
  }

  /** One of the last five, whatever became of it. */
  private async again(): Promise<void> {
    const place = this.place();
    const producer = place && this.producerOf(place);
    if (place === undefined || producer === undefined) return;
    const sent = producer.history.slice(-5); // one of which nobody knows counts too: it may be there
    if (sent.length === 0 || sent.some(({ fate }) => fate !== "kept" && fate !== "open")) return;
    this.world.note("a batch that is there is sent again");
    const append = this.world.random.pick(sent);
    place.model.sentAgain(append);
    await this.wait(this.send(place, producer, append));
  }

  private async newEpoch(): Promise<void> {
    const place = this.place();
    const producer = place && this.producerOf(place);
    if (place === undefined || producer === undefined || producer.history.some(({ fate }) => fate !== "kept")) return;
    producer.nextEpoch();
    await this.asProducer();
  }

  private async oldEpoch(): Promise<void> {
    const place = this.place();
    const producer = place && this.producerOf(place);
    if (place === undefined || producer === undefined || producer.epoch === 0 || producer.history[0]?.fate !== "kept") return;
    const append = this.batch(place.topic);
    const old = {
      ...append,
      sequenced: { producer: producer.name, epoch: producer.epoch - 1, firstSequence: 0 },
      fate: "refused" as const,
    };
    place.model.sent(old);
    const outcome = await this.world.until(this.call(place, producer, old));
    if (outcome === undefined) return;
    if (["PRODUCER_FENCED", ...Object.keys(failures)].includes(codeOf(outcome.error))) return;
    throw new Violation(`a producer of an old epoch was not fenced in ${place.model.where}, but ${codeOf(outcome.error)}`);
  }

  /** Right after a start: what is among the last five is recognised. */
  async checkRecognised(topic: TopicModel, partition: number): Promise<void> {
    const log = this.world.node.log.topic(topic.name);
    if (log === undefined) return;
    const model = topic.partitions[partition] as PartitionModel;
    for (const producer of topic.producers[partition] ?? []) {
      const last = producer.history.at(-1);
      if (last === undefined) continue;
      const outcome = await this.world.until(this.call({ topic, partition, model, log }, producer, last), endTurnsMax);
      if (outcome === undefined || outcome.error !== undefined) {
        if (this.world.troubled && failures[codeOf(outcome?.error)] !== undefined) return;
        throw unexpected(`${producer.name} sends its last batch again to ${model.where} after a start`, outcome?.error);
      }
      const end = log.endOffset(partition);
      demand(
        outcome.value === undefined || outcome.value === last.base,
        () => `a batch at ${last.base} in ${model.where} is answered with offset ${outcome.value}`,
      );
      demand(
        model.holder(end - 1) !== undefined || end === model.startOffset,
        () => `a batch that is there was kept twice in ${model.where}`,
      );
    }
  }

  private producerOf({ topic, partition, model }: Place): ProducerModel | undefined {
    const all = topic.producers[partition] ?? [];
    if (topic.hasRetention) return undefined;
    const producer = this.world.random.pick(all);
    // of what was deleted nobody knows whether it is remembered
    if (producer.history.some((append) => !model.appends.has(append.id))) producer.nextEpoch();
    return producer;
  }

  private send(place: Place, producer: ProducerModel, append: Appended): Promise<void> {
    const { model } = place;
    const { life } = this.world;
    const before = producer.history.slice(0, producer.history.indexOf(append));
    const { timesCut } = append;
    this.world.trace(
      () => `${producer.name} ${JSON.stringify(append.sequenced)} ${append.values.length} append ${append.id} to ${model.where}`,
    );
    return this.call(place, producer, append).then(
      (base) =>
        this.later(life, () => {
          this.world.trace(() => `append ${append.id} is kept at ${base}`);
          model.answered(append, base, this.world.now(), timesCut);
        }),
      (error: unknown) =>
        this.later(life, () => {
          this.world.trace(() => `append ${append.id} fails with ${codeOf(error)}`);
          if (codeOf(error) !== "OUT_OF_ORDER_SEQUENCE") return this.settled(model, append, error, timesCut);
          demand(
            before.some(({ fate }) => fate !== "kept"),
            () => `append ${append.id} to ${model.where} is out of order: ${String(error)}`,
          );
          model.failed(append, "refused");
        }),
    );
  }

  private sendRaw(place: Place, append: Appended, producer: ProducerModel | undefined): Promise<void> {
    const { life } = this.world;
    return this.callRaw(place, append, producer).then(
      (base) =>
        this.later(life, () => {
          place.model.answered(append, base, this.world.now(), 0);
        }),
      (error: unknown) => this.later(life, () => this.settled(place.model, append, error)),
    );
  }

  /** The offset, where it is told. */
  private async call(place: Place, producer: ProducerModel, append: Appended): Promise<number | undefined> {
    if (producer.id !== undefined) return this.callRaw(place, append, producer);
    const { epoch, firstSequence } = append.sequenced as Sequenced;
    const identity = { name: producer.name, epoch };
    await this.world.node.log.append(identity, place.topic.name, place.partition, firstSequence, this.recordsOf(append));
    return undefined;
  }

  private async callRaw(place: Place, append: Appended, producer: ProducerModel | undefined): Promise<number> {
    const { sequenced } = append;
    const identity =
      producer?.id === undefined || sequenced === undefined
        ? {}
        : { producerId: producer.id, producerEpoch: sequenced.epoch, baseSequence: sequenced.firstSequence };
    return (await place.log.appendBatch(place.partition, encodeBatch(this.recordsOf(append), identity))).baseOffset;
  }

  /** Waits for it, or goes on while it is under way. */
  private async wait(sent: Promise<void>): Promise<void> {
    if (this.world.random.below(2) === 0) await this.world.until(sent);
  }

  private later(life: number, check: () => void): void {
    if (life !== this.world.life) return;
    try {
      check();
    } catch (error) {
      this.world.report(error);
    }
  }
}
