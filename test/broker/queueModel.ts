import { expect } from "vitest";
import { Random } from "../../src/base/random.ts";
import { TestConsumer } from "./consumer.ts";
import { confirm, message } from "./message.ts";
import { BrokerNode, turns } from "./node.ts";

interface Kept {
  readonly number: number;
  readonly persistent: boolean;
  state: "ready" | "unacked";
  redelivered: boolean;
}

const queue = "q";
const journalFileBytes = 1024;
/** Small, so that most of what is delivered comes back from the disk. */
const limits = { queueCacheBytesMax: 40 };

/**
 * Random use of one queue, beside a model that is a list. A body is the message's number; numbers go up as offsets do, so whatever
 * is delivered must be the smallest number that is ready.
 */
export class QueueLife {
  private readonly random: Random;
  private node!: BrokerNode;
  private consumer = new TestConsumer({ room: 0 });
  private model: Kept[] = [];
  /** Published and not confirmed, or ended and not synced: a crash may decide either way. */
  private unsure = new Set<number>();
  private next = 0;
  private deliveredEnd = 0;
  /** Of all its nodes. */
  readonly met = { runsFound: 0, stretches: 0, runsMoved: 0 };

  constructor(readonly seed: number) {
    this.random = new Random(seed);
  }

  async live(steps: number): Promise<void> {
    this.node = await BrokerNode.start({
      seed: this.seed,
      limits,
      // so that most of a backlog moves to segments; every third life has it in the journal's files
      journalFileBytes,
      journalBytesMax: journalFileBytes * (this.seed % 3 === 0 ? 40 : 3),
      indexPageItems: 32,
      runs: { fetchedFirst: 1 + this.random.below(3), fetchedMax: 4, stretchMin: 1 + this.random.below(3) },
    });
    await this.node.queue(queue);
    this.consume();
    const operations = [
      () => this.publish(),
      () => this.publish(),
      () => this.makeRoom(),
      () => this.settle(),
      () => this.settle(),
      () => this.get(),
      () => this.sync(),
      () => (this.random.below(3) === 0 ? this.purge() : this.makeRoom()),
      () => (this.random.below(2) === 0 ? this.restart() : this.publish()),
      () => (this.random.below(2) === 0 ? this.crash() : this.settle()),
    ];
    for (let step = 0; step < steps; step++) {
      await this.random.pick(operations)();
      await this.check();
    }
    this.count();
    await this.node.stop();
  }

  private count(): void {
    for (const what of Object.keys(this.met) as (keyof typeof this.met)[]) this.met[what] += this.node.journal.met[what];
  }

  private consume(): void {
    this.consumer = new TestConsumer({ room: this.random.below(3) });
    this.node.host.consume(queue, this.consumer);
  }

  private async publish(): Promise<void> {
    const confirms: Promise<void>[] = [];
    for (let count = this.random.below(8); count > 0; count--) {
      const number = this.next++;
      const persistent = this.random.below(4) > 0;
      const { receipt, settled } = confirm();
      this.node.host.publish(message({ key: queue, body: String(number), persistent }), receipt);
      receipt.seal();
      if (persistent) this.unsure.add(number);
      this.model.push({ number, persistent, state: "ready", redelivered: false });
      const sure = settled.then(() => void this.unsure.delete(number));
      confirms.push(sure);
    }
    // in the model as in the queue: what was ready before goes first
    this.expectDeliveries();
    if (this.random.below(2) === 0) await Promise.all(confirms);
  }

  private async makeRoom(): Promise<void> {
    this.consumer.room += this.random.below(6);
    await this.wake();
  }

  private async settle(): Promise<void> {
    const held = this.consumer.received.filter(({ queue: of }) => of !== undefined);
    for (let count = this.random.below(5); count > 0 && held.length > 0; count--) {
      const [one] = held.splice(this.random.below(held.length), 1);
      if (one === undefined) return;
      this.consumer.received.splice(this.consumer.received.indexOf(one), 1);
      this.consumer.room++;
      const kept = this.model.find(({ number }) => String(number) === one.body) as Kept;
      if (this.random.below(3) === 0) {
        kept.state = "ready";
        kept.redelivered = true;
        one.queue.requeue(one.offset);
      } else {
        this.end(kept);
        one.queue.acknowledge(one.offset);
      }
    }
    await this.wake();
  }

  private async get(): Promise<void> {
    await turns();
    const expected = this.firstReady();
    const got = await this.node.host.get(queue, true, this);
    expect(got?.delivery.content.toString()).toBe(expected === undefined ? undefined : String(expected.number));
    if (expected === undefined || got === undefined) return;
    expect(got.delivery.redelivered).toBe(expected.redelivered);
    this.deliveredEnd = Math.max(this.deliveredEnd, expected.number + 1);
    this.end(expected);
    expect(got.remaining).toBe(this.model.filter(({ state }) => state === "ready").length);
  }

  private async sync(): Promise<void> {
    await this.node.journal.sync();
    this.unsure.clear();
  }

  private async purge(): Promise<void> {
    const ready = this.model.filter(({ state }) => state === "ready");
    expect(await this.node.host.purgeQueue(queue, this)).toBe(ready.length);
    this.model = this.model.filter(({ state }) => state === "unacked");
    this.unsure.clear();
  }

  private async restart(): Promise<void> {
    this.count();
    this.node = await this.node.restart();
    this.model = this.model.filter(({ persistent }) => persistent);
    for (const kept of this.model) {
      kept.state = "ready";
      kept.redelivered = kept.number < this.deliveredEnd; // so much is known after a clean stop
    }
    this.unsure.clear();
    this.consume();
    await this.wake();
  }

  private async crash(): Promise<void> {
    this.count();
    this.node = await this.node.crash();
    const all = new TestConsumer();
    this.node.host.consume(queue, all);
    await this.settled(() => all.received.length === this.node.broker.status().queues[0]?.unacknowledged && this.readyCount() === 0);
    const numbers = all.bodies.map(Number);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    const sure = this.model.filter(({ number, persistent }) => persistent && !this.unsure.has(number)).map(({ number }) => number);
    expect(numbers.filter((number) => !this.unsure.has(number))).toEqual(sure);
    expect(all.received.every(({ redelivered }) => redelivered)).toBe(true);
    this.model = numbers.map((number) => ({ number, persistent: true, state: "ready", redelivered: true }));
    this.unsure.clear();
    this.deliveredEnd = Math.max(this.deliveredEnd, ...numbers.map((number) => number + 1));
    await this.node.host.cancel(queue, all);
    for (const one of all.received.toReversed()) one.queue.requeue(one.offset);
    this.consume();
    await this.wake();
  }

  private end(kept: Kept): void {
    this.model.splice(this.model.indexOf(kept), 1);
    if (kept.persistent) this.unsure.add(kept.number);
  }

  private firstReady(): Kept | undefined {
    const ready = this.model.filter(({ state }) => state === "ready");
    return ready.reduce<Kept | undefined>((first, one) => (first !== undefined && first.number < one.number ? first : one), undefined);
  }

  /** What the model says that the consumer gets now. */
  private expectDeliveries(): void {
    for (let room = this.modelRoom(); room > 0; room--) {
      const first = this.firstReady();
      if (first === undefined) return;
      first.state = "unacked";
      this.deliveredEnd = Math.max(this.deliveredEnd, first.number + 1);
    }
  }

  private modelRoom(): number {
    return this.consumer.room + this.consumer.received.length - this.model.filter(({ state }) => state === "unacked").length;
  }

  private async wake(): Promise<void> {
    this.wakeQueue();
    this.expectDeliveries();
  }

  private wakeQueue(): void {
    // as a channel does when a message was settled: the handle that came with a delivery, or consume's own
    void this.node.host.cancel(queue, this.consumer);
    this.node.host.consume(queue, this.consumer);
  }

  private async check(): Promise<void> {
    const unacked = this.model.filter(({ state }) => state === "unacked");
    await this.settled(() => this.consumer.received.length >= unacked.length);
    const byNumber = this.consumer.received.map(({ body, redelivered }) => ({ number: Number(body), redelivered }));
    expect(byNumber.sort((a, b) => a.number - b.number)).toEqual(
      unacked.map(({ number, redelivered }) => ({ number, redelivered })).sort((a, b) => a.number - b.number),
    );
    expect(this.readyCount()).toBe(this.model.length - unacked.length);
    // what is gone holds no file; while something moves it is nowhere for a moment
    await this.settled(() => this.node.journal.pinned.size === this.model.length);
    expect(this.node.journal.pinned.size).toBe(this.model.length);
  }

  private readyCount(): number | undefined {
    return this.node.broker.status().queues[0]?.ready;
  }

  private async settled(done: () => boolean): Promise<void> {
    for (let i = 0; i < 200 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 1));
    await turns(3);
  }
}
