/** Publishes to several queues and streams at once, and what consumers do: acknowledge in any order, requeue, discard, purge. */
import type { Consumer, Delivery, QueueHandle } from "../../src/broker/contract.ts";
import { Address } from "../../src/record/address.ts";
import { ContentFormat, type Message } from "../../src/record/message.ts";
import { Receipt } from "../../src/record/receipt.ts";
import type { Appending } from "./appending.ts";
import type { BitFlip } from "./bitFlips.ts";
import { type Appended, type PartitionModel, valueOf } from "./partitionModel.ts";
import { type Copy, contentOf, QueueModel } from "./queueModel.ts";
import { TopicModel } from "./topicModel.ts";
import { demand } from "./violation.ts";
import { codeOf, type Operation, unexpected, type World } from "./world.ts";

/** A publish that throws one of these has left nothing in any queue. */
const refusals = new Set(["JOURNAL_FULL", "JOURNAL_FAILED"]);
const ofTheDisk = new Set([
  "JOURNAL_FULL",
  "JOURNAL_FAILED",
  "LOG_FAILED",
  "LOG_DISK_FULL",
  "KEYED_STORE_FAILED",
  "JOURNAL_CORRUPT",
  "EIO",
  "ENOSPC",
]);
const ofTheJournal: ReadonlySet<string> = new Set([".journal", ".segment", ".dead"]);
const exchange = "many";
const streamIdsMax = 20;

interface Held {
  readonly queue: QueueModel;
  readonly copy: Copy;
  readonly handle: QueueHandle;
}

interface Published {
  readonly id: number;
  readonly key: string;
}

/** One of the places that a publish went to. `isNew`: else what is there already has the same id. */
interface ToQueue {
  readonly queue: QueueModel;
  readonly copy: Copy;
  readonly isNew: boolean;
}

interface ToStream {
  readonly model: PartitionModel;
  readonly append: Appended;
  readonly isNew: boolean;
}

interface Destinations {
  readonly copies: readonly ToQueue[];
  readonly appends: readonly ToStream[];
}

export class SimulatedConsumer implements Consumer {
  readonly tag = "simulated";
  readonly exclusive = false;
  readonly owner = this;
  constructor(
    readonly noAck: boolean,
    public room: number,
    private readonly taken: (delivery: Delivery, handle: QueueHandle) => void,
  ) {}

  ready(): boolean {
    return this.room > 0;
  }

  deliver(delivery: Delivery, handle: QueueHandle): void {
    this.room--;
    this.taken({ ...delivery, content: Buffer.from(delivery.content) }, handle);
  }

  cancelled(): void {
    this.room = 0;
  }
}

export class Queueing {
  readonly queues = [new QueueModel("plain", undefined), new QueueModel("counted", 8), new QueueModel("second", undefined)];
  readonly streams = [
    new TopicModel("stream", { partitions: 1, sync: { kind: "always" } }, true),
    new TopicModel("lazy", { partitions: 1, sync: { kind: "interval", ms: 30 } }, true),
  ];
  /** The messages that a stream remembers the ids of, the last one last. */
  private readonly streamIds = new Map<TopicModel, { id: number; append: Appended }[]>();
  private held: Held[] = [];
  private consumers: { readonly queue: QueueModel; readonly consumer: SimulatedConsumer }[] = [];
  private recent: Published[] = [];

  constructor(
    private readonly world: World,
    private readonly appending: Appending,
  ) {}

  get operations(): readonly Operation[] {
    return [
      { name: "publish", weight: 22, run: () => this.publishSome() },
      { name: "publish again", weight: 4, run: () => this.publishAgain() },
      { name: "consume", weight: 5, run: () => this.consume() },
      { name: "stop consuming", weight: 2, run: () => this.cancel() },
      { name: "acknowledge out of order", weight: 14, run: () => this.acknowledge() },
      { name: "requeue", weight: 3, run: () => this.requeue() },
      { name: "fetch one message", weight: 5, run: () => this.fetch() },
      { name: "purge", weight: 1, run: () => this.purge() },
      { name: "sync the journal", weight: 2, run: () => this.sync() },
      { name: "delete and declare a queue", weight: 1, run: () => this.declareAnew() },
    ];
  }

  // ---- what is there

  /** The first start declares everything; nothing fails while it does. */
  async declare(): Promise<void> {
    const { host } = this.world.node;
    await host.declareExchange(exchange, { type: "direct", durable: true, autoDelete: false, internal: false, arguments: {} });
    for (const { name, idsMax } of this.queues) await this.declareQueue(name, idsMax === undefined ? {} : { "x-dedupe": idsMax });
    const [first, second] = this.streams as [TopicModel, TopicModel];
    await this.declareQueue(first.name, { "x-queue-type": "stream", "x-partitions": 1, "x-sync": "always", "x-dedupe": streamIdsMax });
    await this.declareQueue(second.name, { "x-queue-type": "stream", "x-partitions": 1, "x-sync": "30 ms" });
    for (const stream of this.streams) stream.existence = "there";
    await Promise.all(this.names.map((name, i) => this.bind(name, i)));
  }

  private get names(): string[] {
    return [...this.queues, ...this.streams].map(({ name }) => name);
  }

  private async declareQueue(name: string, args: Readonly<Record<string, string | number>>): Promise<void> {
    await this.world.node.host.declareQueue(name, { durable: true, exclusive: false, autoDelete: false, arguments: args }, this);
  }

  /** The i-th name is bound to all keys that have bit i. */
  private async bind(name: string, i: number): Promise<void> {
    const keys = Array.from({ length: 1 << this.names.length }, (_, key) => key).filter((key) => (key & (1 << i)) !== 0);
    await Promise.all(keys.map((key) => this.world.node.host.bindQueue(name, exchange, `k${key}`, {}, this)));
  }

  // ---- publishing

  private async publishSome(): Promise<void> {
    const { random } = this.world;
    for (let count = 1 + random.below(3); count > 0; count--) {
      const key = `k${1 + random.below((1 << this.names.length) - 1)}`;
      const id = random.below(3) === 0 ? this.world.nextId() : undefined;
      if (id !== undefined) this.recent = [...this.recent.slice(-9), { id, key }];
      this.publish(key, id, id !== undefined || random.below(6) > 0);
    }
  }

  /** Only where it is known whether the id is remembered. */
  private publishAgain(): void {
    if (this.recent.length === 0) return;
    const { id, key } = this.world.random.pick(this.recent);
    const { queues, streams } = this.targets(key);
    const known = queues.every((queue) => queue.idsMax === undefined || queue.remembers(id) !== "unknown");
    if (!known || !streams.every((stream) => this.streamKnows(stream, id))) return;
    this.world.note("a message is published again");
    this.publish(key, id, true);
  }

  private streamKnows(stream: TopicModel, id: number): boolean {
    const ids = this.streamIds.get(stream) ?? [];
    const place = ids.findIndex((one) => one.id === id);
    const original = ids[place]?.append;
    const fate = original?.fate;
    // what was deleted is not read at a start, and its id forgotten
    if (original !== undefined && stream.partitions[0]?.appends.get(original.id) !== original) return false;
    return place < 0 || (ids.length - place <= streamIdsMax && (fate === "kept" || fate === "open" || fate === "gone"));
  }

  private targets(key: string): { queues: QueueModel[]; streams: TopicModel[] } {
    const bits = Number(key.slice(1));
    return {
      queues: this.queues.filter((_, i) => (bits & (1 << i)) !== 0),
      streams: this.streams.filter((_, i) => (bits & (1 << (i + this.queues.length))) !== 0),
    };
  }

  private publish(key: string, id: number | undefined, persistent: boolean): void {
    const { random, life, node } = this.world;
    const { queues, streams } = this.targets(key);
    if (queues.some(({ existence }) => existence !== "there")) return;
    const message = this.world.nextId();
    const content = contentOf(message, random.below(random.below(10) === 0 ? 2500 : 250));
    const copies = queues.flatMap((queue) => {
      const fresh = queue.published(message, id, content, persistent);
      const copy = fresh ?? queue.copyOf(id as number);
      return copy === undefined ? [] : [{ queue, copy, isNew: fresh !== undefined }];
    });
    const appends = streams.map((stream) => this.toStream(stream, message, id));
    const destinations = { copies, appends };
    this.world.trace(
      () =>
        `publish ${message} id ${id} ${persistent} to ${copies.map(({ queue, isNew }) => `${queue.name}${isNew ? "" : " (known)"}`)} ${appends.map(({ model, isNew }) => `${model.where}${isNew ? "" : " (known)"}`)}`,
    );
    const receipt = new Receipt((failure) => {
      if (life !== this.world.life) return;
      try {
        this.confirmed(destinations, failure);
      } catch (error) {
        this.world.report(error);
      }
    });
    const ends = streams.map((stream) => node.log.topic(stream.name)?.endOffset(0) ?? 0);
    try {
      node.host.publish(messageOf(key, id, message, content, persistent), receipt);
    } catch (error) {
      return this.refused(destinations, error);
    }
    for (const [i, { model, append, isNew }] of appends.entries()) {
      const end = node.log.topic(streams[i]?.name as string)?.endOffset(0) ?? 0;
      demand(
        end === (ends[i] as number) + (isNew ? 1 : 0),
        () => `message ${message} with id ${id} ${isNew ? "is" : "is not"} new to ${model.where}, whose end went from ${ends[i]} to ${end}`,
      );
      if (isNew) model.place(append, end - 1);
    }
    receipt.seal();
  }

  private toStream(stream: TopicModel, message: number, id: number | undefined): ToStream {
    const model = stream.partitions[0] as PartitionModel;
    const dedupes = stream === this.streams[0];
    const ids = this.streamIds.get(stream) ?? [];
    const original = dedupes ? ids.find((one) => one.id === id)?.append : undefined;
    if (original !== undefined && original.fate !== "gone") return { model, append: original, isNew: false };
    const append = this.appending.ofMessage(stream, message, valueOf(message, 0, 60));
    if (dedupes && id !== undefined) this.streamIds.set(stream, [...ids.filter((one) => one.id !== id), { id, append }].slice(-100));
    return { model, append, isNew: true };
  }

  private confirmed({ copies, appends }: Destinations, failure: unknown): void {
    this.world.trace(
      () =>
        `confirmed ${copies.map(({ copy }) => copy.message)} ${appends.map(({ append }) => append.id)}: ${failure === undefined ? "ok" : codeOf(failure)}`,
    );
    if (failure !== undefined && !(this.world.troubled && ofTheDisk.has(codeOf(failure)))) throw unexpected("a publish", failure);
    if (failure !== undefined) this.world.note(`a publish fails with ${codeOf(failure)}`);
    for (const { copy } of copies) {
      if (copy.fate === "open" || copy.fate === "unknown") copy.fate = failure === undefined ? "kept" : "unknown";
    }
    for (const { model, append } of appends) {
      if (failure === undefined) model.kept(append, this.world.now());
      else if (append.fate === "open") append.fate = "unknown";
    }
  }

  private refused({ copies, appends }: Destinations, error: unknown): void {
    if (!(this.world.troubled && ofTheDisk.has(codeOf(error)))) throw unexpected("a publish", error);
    this.world.note(`a publish is refused with ${codeOf(error)}`);
    // the journal comes before the topics: what it refuses is nowhere
    const fate = refusals.has(codeOf(error)) ? "refused" : "unknown";
    for (const { queue, copy, isNew } of copies) {
      if (!isNew) continue;
      copy.fate = fate;
      if (fate === "refused") queue.ids = queue.ids.filter(({ id }) => id !== copy.id);
    }
    for (const { append, isNew } of appends) if (isNew) append.fate = fate;
  }

  // ---- consuming

  private someQueue(): QueueModel | undefined {
    const there = this.queues.filter(({ existence }) => existence === "there");
    return there.length === 0 ? undefined : this.world.random.pick(there);
  }

  private consume(): void {
    const queue = this.someQueue();
    const { random, node, life } = this.world;
    if (queue === undefined || this.consumers.length >= 4) return;
    const noAck = random.below(5) === 0;
    const consumer = new SimulatedConsumer(noAck, 1 + random.below(noAck ? 20 : 8), (delivery, handle) => {
      if (life === this.world.life) this.take(queue, delivery, handle, noAck, true);
    });
    node.host.consume(queue.name, consumer);
    this.consumers.push({ queue, consumer });
  }

  private take(queue: QueueModel, delivery: Delivery, handle: QueueHandle, noAck: boolean, inOrder: boolean): void {
    try {
      const copy = queue.delivered(delivery, inOrder);
      this.world.trace(() => `delivered ${copy.message} from ${queue.name} ${noAck ? "without acknowledgement" : ""}`);
      if (!noAck) return void this.held.push({ queue, copy, handle });
      Object.assign(copy, { held: false, taken: "inMemory" });
    } catch (error) {
      this.world.report(error);
    }
  }

  private async cancel(): Promise<void> {
    const [found] = this.consumers.splice(this.world.random.below(this.consumers.length + 1), 1);
    if (found === undefined) return;
    found.consumer.room = 0;
    await this.world.until(this.world.node.host.cancel(found.queue.name, found.consumer));
  }

  private acknowledge(): void {
    for (let count = 1 + this.world.random.below(6); count > 0; count--) {
      const held = this.someHeld();
      if (held === undefined) break;
      Object.assign(held.copy, { held: false, taken: "inMemory" });
      this.world.trace(() => `acknowledge ${held.copy.message} of ${held.queue.name}`);
      if (this.world.random.below(6) === 0) held.handle.discard(held.copy.offset as number);
      else held.handle.acknowledge(held.copy.offset as number);
    }
    for (const { consumer, queue } of this.consumers) {
      if (consumer.room > 0) continue;
      consumer.room = 1 + this.world.random.below(8);
      this.held.find((one) => one.queue === queue)?.handle.wake();
    }
  }

  private someHeld(): Held | undefined {
    return this.held.splice(this.world.random.below(this.held.length), 1)[0];
  }

  private requeue(): void {
    for (let count = 1 + this.world.random.below(4); count > 0; count--) {
      const held = this.someHeld();
      if (held === undefined) return;
      held.copy.held = false;
      this.world.trace(() => `requeue ${held.copy.message} to ${held.queue.name}`);
      held.handle.requeue(held.copy.offset as number);
    }
  }

  private async fetch(): Promise<void> {
    const queue = this.someQueue();
    if (queue === undefined) return;
    const noAck = this.world.random.below(2) === 0;
    const { life, node } = this.world;
    queue.fetching++;
    const fetched = node.host.get(queue.name, noAck, this).then(
      (got) => {
        if (life !== this.world.life) return;
        if (got !== undefined) this.take(queue, { ...got.delivery, content: Buffer.from(got.delivery.content) }, got.queue, noAck, false);
        queue.fetching--;
      },
      (error: unknown) => {
        if (life === this.world.life) queue.fetching--;
        throw error;
      },
    );
    const outcome = await this.world.until(fetched);
    if (outcome?.error !== undefined) this.ofDisk(`fetching from ${queue.name}`, outcome.error);
  }

  private async purge(): Promise<void> {
    const queue = this.someQueue();
    if (queue === undefined || queue.fetching > 0) return;
    const ready = queue.ready();
    const { life, node } = this.world;
    for (const copy of ready) copy.taken = "inMemory";
    this.world.trace(() => `purge ${ready.map(({ message }) => message)} from ${queue.name}`);
    const purging = node.host.purgeQueue(queue.name, this);
    // refused: everything stays
    if (this.readyCount(queue) > 0) for (const copy of ready) copy.taken = "no";
    const purged = purging.then((count) => {
      if (life !== this.world.life) return;
      demand(count <= ready.length, () => `${count} messages were purged from ${queue.name}, which had ${ready.length}`);
      for (const copy of ready) copy.taken = "surely";
    });
    const outcome = await this.world.until(purged);
    if (outcome?.error === undefined) return;
    this.ofDisk(`purging ${queue.name}`, outcome.error);
  }

  private async sync(): Promise<void> {
    const { life, node } = this.world;
    const settled = this.queues.map((queue) => [queue, queue.inMemoryOnly()] as const);
    const synced = node.journal.sync().then(() => {
      if (life === this.world.life) for (const [queue, copies] of settled) queue.synced(copies);
    });
    const outcome = await this.world.until(synced);
    if (outcome?.error !== undefined) this.ofDisk("syncing the journal", outcome.error);
  }

  /** Its messages and their ids go with it. */
  private async declareAnew(): Promise<void> {
    const queue = this.queues.at(-1) as QueueModel;
    if (queue.existence !== "there" || this.consumers.some((one) => one.queue === queue)) return;
    const { life, node } = this.world;
    queue.existence = "unknown";
    this.world.trace(() => `delete ${queue.name}`);
    this.held = this.held.filter((one) => one.queue !== queue);
    const work = async (): Promise<void> => {
      await node.host.deleteQueue(queue.name, { ifUnused: false, ifEmpty: false }, this);
      if (life !== this.world.life) return;
      queue.empty();
      await this.declareQueue(queue.name, {});
      await this.bind(queue.name, this.queues.length - 1);
      if (life === this.world.life) queue.existence = "there";
    };
    const done = work();
    done.catch(() => undefined);
    const outcome = await this.world.until(done);
    if (outcome?.error !== undefined) this.ofDisk(`declaring ${queue.name} anew`, outcome.error);
  }

  private ofDisk(what: string, error: unknown): void {
    if (!this.world.troubled || !ofTheDisk.has(codeOf(error))) throw unexpected(what, error);
    this.world.note(`${what.split(" ")[0]} fails and says so`);
  }

  // ---- around a restart

  stopped(): void {
    for (const queue of this.queues) queue.synced(queue.copies);
  }

  /** Looks at all that is there, and puts it back. */
  async started(clean: boolean, flip: BitFlip | undefined, isFlipped: boolean): Promise<boolean> {
    this.held = [];
    this.consumers = [];
    for (const [stream, ids] of this.streamIds)
      this.streamIds.set(
        stream,
        ids.filter(({ append }) => append.fate !== "gone"),
      );
    const inJournal = flip !== undefined && ofTheJournal.has(flip.kind);
    let missing = false;
    for (const queue of this.queues) missing = (await this.look(queue, clean, !inJournal ? "none" : isFlipped ? "now" : "was")) || missing;
    return missing;
  }

  private async look(queue: QueueModel, clean: boolean, damage: "none" | "now" | "was"): Promise<boolean> {
    const { node, random } = this.world;
    queue.fetching = 0;
    if (queue.existence === "unknown") await this.decide(queue);
    const found: { delivery: Delivery; handle: QueueHandle }[] = [];
    const consumer = new SimulatedConsumer(false, Number.POSITIVE_INFINITY, (delivery, handle) => void found.push({ delivery, handle }));
    const handle = node.host.consume(queue.name, consumer);
    for (let turn = 0; turn < 5000 && this.readyCount(queue) > 0; turn++) await this.world.turns(1);
    demand(this.readyCount(queue) === 0, () => `queue ${queue.name} does not deliver the last ${this.readyCount(queue)} of its messages`);
    await node.host.cancel(queue.name, consumer);
    this.world.trace(
      () => `found ${found.map(({ delivery }) => delivery.content.subarray(1, 9).toString().split(" ")[0])} in ${queue.name}`,
    );
    const missing = queue.started(
      found.map(({ delivery }) => delivery),
      clean,
      damage,
    );
    while (found.length > 0) handle.requeue((found.splice(random.below(found.length), 1)[0] as (typeof found)[number]).delivery.offset);
    return missing;
  }

  /** The deletion, or the declaration after it, was under way: either is fine, whole. */
  private async decide(queue: QueueModel): Promise<void> {
    const there = this.world.node.broker.status().queues.find(({ name }) => name === queue.name);
    if (there === undefined) {
      queue.empty();
      await this.declareQueue(queue.name, {});
    } else if (there.ready === 0) queue.empty(); // it may be the new one
    await this.bind(queue.name, this.queues.indexOf(queue));
    queue.existence = "there";
  }

  private readyCount(queue: QueueModel): number {
    return this.world.node.broker.status().queues.find(({ name }) => name === queue.name)?.ready ?? 0;
  }
}

function messageOf(key: string, id: number | undefined, message: number, content: Buffer, persistent: boolean): Message {
  return {
    address: new Address(exchange, key),
    contentFormat: ContentFormat.amqp091,
    content,
    persistent,
    messageId: () => (id === undefined ? undefined : `id-${id}`),
    headers: () => undefined,
    body: () => valueOf(message, 0, 60),
    properties: () => Buffer.from([0, 0]),
  };
}
