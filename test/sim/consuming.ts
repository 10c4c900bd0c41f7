/** What consumers do: acknowledge in any order, requeue, discard, fetch one by one; and purges. */
import type { Consumer, Delivery, QueueHandle } from "../../src/broker/contract.ts";
import { noteDiskFailure } from "./queueFailures.ts";
import type { Copy, QueueModel } from "./queueModel.ts";
import type { SimulatedNode } from "./simulatedNode.ts";
import { demand } from "./violation.ts";
import type { Operation, World } from "./world.ts";

interface Held {
  readonly queue: QueueModel;
  readonly copy: Copy;
  readonly handle: QueueHandle;
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

export const readyCount = (node: SimulatedNode, { name }: QueueModel): number =>
  node.broker.status().queues.find((queue) => queue.name === name)?.ready ?? 0;

export class Consuming {
  private held: Held[] = [];
  private consumers: { readonly queue: QueueModel; readonly consumer: SimulatedConsumer }[] = [];

  constructor(
    private readonly world: World,
    private readonly queues: readonly QueueModel[],
  ) {}

  get operations(): readonly Operation[] {
    return [
      { name: "consume", weight: 5, run: () => this.consume() },
      { name: "stop consuming", weight: 2, run: () => this.cancel() },
      { name: "acknowledge out of order", weight: 14, run: () => this.acknowledge() },
      { name: "requeue", weight: 3, run: () => this.requeue() },
      { name: "fetch one message", weight: 5, run: () => this.fetch() },
      { name: "purge", weight: 1, run: () => this.purge() },
    ];
  }

  /** The process that had them is dead. */
  started(): void {
    this.held = [];
    this.consumers = [];
  }

  isConsumed(queue: QueueModel): boolean {
    return this.consumers.some((one) => one.queue === queue);
  }

  /** The queue goes, with what of it was delivered. */
  forget(queue: QueueModel): void {
    this.held = this.held.filter((one) => one.queue !== queue);
  }

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
    if (outcome?.error !== undefined) noteDiskFailure(this.world, `fetching from ${queue.name}`, outcome.error);
  }

  private async purge(): Promise<void> {
    const queue = this.someQueue();
    if (queue === undefined || queue.fetching > 0) return;
    const ready = queue.ready();
    const { life, node } = this.world;
    for (const copy of ready) copy.taken = "inPurge";
    this.world.trace(() => `purge ${ready.map(({ message }) => message)} from ${queue.name}`);
    const purging = node.host.purgeQueue(queue.name, this);
    // refused: everything stays
    if (readyCount(node, queue) > 0) for (const copy of ready) copy.taken = "no";
    const purged = purging.then((count) => {
      if (life !== this.world.life) return;
      demand(count <= ready.length, () => `${count} messages were purged from ${queue.name}, which had ${ready.length}`);
      for (const copy of ready) copy.taken = "surely";
    });
    const outcome = await this.world.until(purged);
    if (outcome?.error !== undefined) noteDiskFailure(this.world, `purging ${queue.name}`, outcome.error);
  }
}
