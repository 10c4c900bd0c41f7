/** Publishes to several queues and streams at once, again and again. */
import { Address } from "../../src/record/address.ts";
import { ContentFormat, type Message } from "../../src/record/message.ts";
import { Receipt } from "../../src/record/receipt.ts";
import type { Appending } from "./appending.ts";
import { type Appended, type PartitionModel, valueOf } from "./partitionModel.ts";
import { demandOfTheDisk } from "./queueFailures.ts";
import { type Copy, contentOf, type QueueModel } from "./queueModel.ts";
import type { TopicModel } from "./topicModel.ts";
import { demand } from "./violation.ts";
import { codeOf, type Operation, type World } from "./world.ts";

/** The i-th of the queues, and then of the streams, is bound to all keys that have bit i. */
export const exchange = "many";
export const streamIdsMax = 20;

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
  /** When it was published. */
  readonly timesCut: number;
}

interface Destinations {
  readonly copies: readonly ToQueue[];
  readonly appends: readonly ToStream[];
}

export class Publishing {
  /** The messages that a stream remembers the ids of, the last one last. */
  private readonly streamIds = new Map<TopicModel, { id: number; append: Appended }[]>();
  private recent: Published[] = [];

  constructor(
    private readonly world: World,
    private readonly appending: Appending,
    private readonly queues: readonly QueueModel[],
    private readonly streams: readonly TopicModel[],
  ) {}

  get operations(): readonly Operation[] {
    return [
      { name: "publish", weight: 22, run: () => this.publishSome() },
      { name: "publish again", weight: 4, run: () => this.publishAgain() },
    ];
  }

  /** A start has shown what is there of the streams. */
  started(): void {
    for (const [stream, ids] of this.streamIds)
      this.streamIds.set(
        stream,
        ids.filter(({ append }) => append.fate !== "gone"),
      );
  }

  /** As much as makes the journal go on in its next file. Resolves when all of it is answered. */
  async burst(): Promise<void> {
    await Promise.all(
      Array.from({ length: 5 + this.world.random.below(30) }, () => {
        const key = this.someKey();
        const isThere = this.targets(key).queues.every(({ existence }) => existence === "there");
        return isThere && new Promise((settled) => this.publish(key, undefined, true, settled));
      }),
    );
  }

  private someKey(): string {
    return `k${1 + this.world.random.below((1 << (this.queues.length + this.streams.length)) - 1)}`;
  }

  private async publishSome(): Promise<void> {
    const { random } = this.world;
    for (let count = 1 + random.below(3); count > 0; count--) {
      const key = this.someKey();
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

  /** One message to the first queue alone. @returns why it was not confirmed */
  one(): Promise<unknown> {
    return new Promise((settled) => this.publish("k1", undefined, true, settled));
  }

  private publish(key: string, id: number | undefined, persistent: boolean, settled?: (failure: unknown) => void): void {
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
      settled?.(failure);
    });
    const ends = streams.map((stream) => node.log.topic(stream.name)?.endOffset(0) ?? 0);
    try {
      node.host.publish(messageOf(key, id, message, content, persistent), receipt);
    } catch (error) {
      this.refused(destinations, error);
      return settled?.(error);
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
    if (original !== undefined && original.fate !== "gone") return { model, append: original, isNew: false, timesCut: original.timesCut };
    const append = this.appending.ofMessage(stream, message, valueOf(message, 0, 60));
    if (dedupes && id !== undefined) this.streamIds.set(stream, [...ids.filter((one) => one.id !== id), { id, append }].slice(-100));
    return { model, append, isNew: true, timesCut: 0 };
  }

  private confirmed({ copies, appends }: Destinations, failure: unknown): void {
    this.world.trace(
      () =>
        `confirmed ${copies.map(({ copy }) => copy.message)} ${appends.map(({ append }) => append.id)}: ${failure === undefined ? "ok" : codeOf(failure)}`,
    );
    if (failure !== undefined) {
      demandOfTheDisk(this.world, "a publish", failure);
      this.world.note(`a publish fails with ${codeOf(failure)}`);
    }
    for (const { copy } of copies) {
      if (copy.fate === "open" || copy.fate === "unknown") copy.fate = failure === undefined ? "kept" : "unknown";
    }
    for (const { model, append, timesCut } of appends) {
      if (failure === undefined) model.kept(append, this.world.now(), timesCut);
      else if (append.fate === "open") append.fate = "unknown";
    }
  }

  /** What one of its destinations refuses is in none. */
  private refused({ copies, appends }: Destinations, error: unknown): void {
    demandOfTheDisk(this.world, "a publish", error);
    this.world.note(`a publish is refused with ${codeOf(error)}`);
    for (const { queue, copy, isNew } of copies) {
      if (!isNew) continue;
      copy.fate = "refused";
      queue.ids = queue.ids.filter(({ id }) => id !== copy.id);
    }
    for (const { append, isNew } of appends) if (isNew) append.fate = "refused";
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
