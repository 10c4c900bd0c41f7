import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../../src/base/random.ts";
import type { QueueHandle } from "../../src/broker/contract.ts";
import { TestConsumer } from "../broker/consumer.ts";
import { message } from "../broker/message.ts";
import type { BrokerNode } from "../broker/node.ts";
import { until } from "../support/until.ts";
import { mustThrow, settled } from "./logLoad.ts";
import { contentOf, type Found, fanoutQueues, numberIn, plainQueue, type Said } from "./messages.ts";

const allQueues = [...fanoutQueues, plainQueue];
/** More than may be unconfirmed at a kill. */
const dedupeIds = 1000;
const exchange = "all";

interface Held {
  readonly number: number;
  readonly offset: number;
  readonly queue: QueueHandle;
}

/** Publishes to several queues at once, and acknowledges out of order; one of the queues is slow, so that its backlog outgrows the journal. */
export class QueueLoad {
  constructor(
    private readonly node: BrokerNode,
    private readonly random: Random,
    private readonly say: (said: Said) => void,
    /** From here on nobody knows whether it was kept: published again. */
    private nextFanout: number,
    private nextPlain: number,
  ) {}

  /** Takes everything out, and puts it back. */
  async found(): Promise<Found["queues"]> {
    const { host } = this.node;
    await this.node.exchange(exchange, "fanout");
    for (const name of fanoutQueues) {
      await this.node.queue(name, { "x-dedupe": dedupeIds });
      await host.bindQueue(name, exchange, "", {}, this.node);
    }
    await this.node.queue(plainQueue);
    const found: Record<string, number[]> = {};
    for (const name of allQueues) {
      const all: (Held & { redelivered: boolean })[] = [];
      const consumer = new TestConsumer();
      consumer.deliver = ({ content, offset, redelivered }, queue) => {
        const number = numberIn(content);
        if (!content.equals(contentOf(number))) throw new Error(`${name} holds ${content}`);
        all.push({ number, offset, queue, redelivered });
      };
      const { messageCount } = host.checkQueue(name, this.node);
      host.consume(name, consumer);
      await until(`${messageCount} messages of ${name} are there`, () => all.length >= messageCount);
      if (all.some(({ redelivered }) => !redelivered)) throw new Error(`${name}: after a kill a message is not marked redelivered`);
      found[name] = all.map(({ number }) => number);
      await host.cancel(name, consumer);
      for (const { offset, queue } of all.toReversed()) queue.requeue(offset);
    }
    return found;
  }

  async run(): Promise<void> {
    await Promise.all([this.publishToAll(), this.publishPlain(), ...allQueues.map((name) => this.consume(name))]);
  }

  private async publishToAll(): Promise<void> {
    for (let turn = 0; ; turn++) {
      const numbers = Array.from({ length: 1 + this.random.below(30) }, () => this.nextFanout++);
      await settled((receipt) => {
        for (const number of numbers) {
          const options = { exchange, id: `id ${number}` };
          this.node.host.publish({ ...message(options), content: contentOf(number) }, receipt);
          if (this.random.below(20) === 0) this.node.host.publish({ ...message(options), content: Buffer.from("twice") }, receipt);
        }
        mustThrow(() => this.node.host.publish({ ...message({ exchange }), content: Buffer.alloc(1 << 19) }, receipt));
        // gone with the process
        this.node.host.publish({ ...message({ key: plainQueue, persistent: false }), content: contentOf(1e9) }, receipt);
      });
      for (const queue of fanoutQueues) this.say({ kind: "confirmed", queue, numbers });
      if (turn % 5 === 0) this.say({ kind: "recognised", count: this.duplicates() });
      await sleep(this.random.below(3));
    }
  }

  private async publishPlain(): Promise<void> {
    for (;;) {
      const numbers = Array.from({ length: 1 + this.random.below(10) }, () => this.nextPlain++);
      await settled((receipt) => {
        for (const number of numbers) this.node.host.publish({ ...message({ key: plainQueue }), content: contentOf(number) }, receipt);
      });
      this.say({ kind: "confirmed", queue: plainQueue, numbers });
      await sleep(this.random.below(3));
    }
  }

  private async consume(name: string): Promise<void> {
    const held: Held[] = [];
    const consumer = new TestConsumer({ room: 100 });
    consumer.deliver = ({ content, offset }, queue) => {
      held.push({ number: numberIn(content), offset, queue });
      consumer.room--;
    };
    const handle = this.node.host.consume(name, consumer);
    for (;;) {
      await sleep(this.random.below(name === "slow" ? 40 : 10));
      const taken = Array.from({ length: Math.min(held.length, 1 + this.random.below(40)) }, () => {
        const [one] = held.splice(this.random.below(held.length), 1);
        return one as Held;
      });
      if (taken.length === 0) continue;
      const numbers = taken.map(({ number }) => number);
      this.say({ kind: "acknowledging", queue: name, numbers });
      for (const { queue, offset } of taken) queue.acknowledge(offset);
      consumer.room += taken.length;
      handle.wake();
      if (this.random.below(3) > 0) continue;
      await this.node.journal.sync();
      this.say({ kind: "acknowledged", queue: name, numbers });
    }
  }

  private duplicates(): number {
    return this.node.broker.status().queues.reduce((sum, { duplicates }) => sum + duplicates, 0);
  }
}
