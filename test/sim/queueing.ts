/** The queues and streams: declared, deleted and declared again, and what a start must find in them. */
import type { Delivery, QueueHandle } from "../../src/broker/contract.ts";
import type { Appending } from "./appending.ts";
import type { BitFlip } from "./bitFlips.ts";
import { Consuming, readyCount, SimulatedConsumer } from "./consuming.ts";
import { exchange, Publishing, streamIdsMax } from "./publishing.ts";
import { noteDiskFailure } from "./queueFailures.ts";
import { QueueModel } from "./queueModel.ts";
import { TopicModel } from "./topicModel.ts";
import { demand } from "./violation.ts";
import type { Operation, World } from "./world.ts";

const ofTheJournal: ReadonlySet<string> = new Set([".journal", ".segment", ".dead"]);

export class Queueing {
  readonly queues = [new QueueModel("plain", undefined), new QueueModel("counted", 8), new QueueModel("second", undefined)];
  readonly streams = [
    new TopicModel("stream", { partitions: 1, sync: { kind: "always" } }, true),
    new TopicModel("lazy", { partitions: 1, sync: { kind: "interval", ms: 30 } }, true),
  ];
  readonly publishing: Publishing;
  private readonly consuming: Consuming;

  constructor(
    private readonly world: World,
    appending: Appending,
  ) {
    this.publishing = new Publishing(world, appending, this.queues, this.streams);
    this.consuming = new Consuming(world, this.queues);
  }

  get operations(): readonly Operation[] {
    return [
      ...this.publishing.operations,
      ...this.consuming.operations,
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

  // ---- while it runs

  private async sync(): Promise<void> {
    const { life, node } = this.world;
    const settled = this.queues.map((queue) => [queue, queue.inMemoryOnly()] as const);
    const synced = node.journal.sync().then(() => {
      if (life === this.world.life) for (const [queue, copies] of settled) queue.synced(copies);
    });
    const outcome = await this.world.until(synced);
    if (outcome?.error !== undefined) noteDiskFailure(this.world, "syncing the journal", outcome.error);
  }

  /** Its messages and their ids go with it. */
  private async declareAnew(): Promise<void> {
    const queue = this.queues.at(-1) as QueueModel;
    if (queue.existence !== "there" || this.consuming.isConsumed(queue)) return;
    const { life, node } = this.world;
    queue.existence = "unknown";
    this.world.trace(() => `delete ${queue.name}`);
    this.consuming.forget(queue);
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
    if (outcome?.error !== undefined) noteDiskFailure(this.world, `declaring ${queue.name} anew`, outcome.error);
  }

  // ---- around a restart

  stopped(): void {
    for (const queue of this.queues) queue.synced(queue.copies);
  }

  /** Looks at all that is there, and puts it back. */
  async started(clean: boolean, flip: BitFlip | undefined, isFlipped: boolean): Promise<boolean> {
    this.consuming.started();
    this.publishing.started();
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
    for (let turn = 0; turn < 5000 && readyCount(node, queue) > 0; turn++) await this.world.turns(1);
    demand(readyCount(node, queue) === 0, () => `queue ${queue.name} does not deliver the last ${readyCount(node, queue)} of its messages`);
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
}
