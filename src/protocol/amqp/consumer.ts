import type { Consumer, Delivery, Owner, QueueHandle } from "../../broker/contract.ts";
import { deliverPrefix } from "./codec/hotMethods.ts";
import type { Deliveries, Receiver } from "./deliveries.ts";

export interface ConsumerOptions {
  readonly tag: string;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  readonly owner: Owner;
  /** What it may hold unacknowledged; 0: no limit of its own. */
  readonly prefetch: number;
}

/** A basic.consume: takes the queue's deliveries while its prefetch, its channel and its socket have room. */
export class AmqpConsumer implements Consumer, Receiver {
  readonly tag: string;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  readonly owner: Owner;
  private readonly prefetch: number;
  private readonly prefix: Buffer;
  private handle: QueueHandle | undefined;
  private active = false;
  private inFlight = 0;
  private stalled = false;

  constructor(
    options: ConsumerOptions,
    readonly queueName: string,
    private readonly deliveries: Deliveries,
    /** The broker took it away. */
    private readonly onCancelled: (consumer: AmqpConsumer) => void,
  ) {
    this.tag = options.tag;
    this.noAck = options.noAck;
    this.exclusive = options.exclusive;
    this.owner = options.owner;
    this.prefetch = options.prefetch;
    this.prefix = deliverPrefix(deliveries.channel, options.tag);
  }

  get queue(): QueueHandle {
    return this.handle as QueueHandle; // nothing is delivered before `start`
  }

  /** The client knows of it: deliveries may come. */
  start(queue: QueueHandle): void {
    this.handle = queue;
    this.active = true;
    this.deliveries.receivers.add(this);
    queue.wake();
  }

  /** No more deliveries; what it holds can still be settled. */
  stop(): void {
    this.active = false;
    this.deliveries.receivers.delete(this);
  }

  ready(): boolean {
    if (!this.active) return false;
    if ((this.noAck || this.prefetch === 0 || this.inFlight < this.prefetch) && this.deliveries.mayDeliver(this.noAck)) return true;
    this.stalled = true;
    return false;
  }

  deliver(delivery: Delivery): void {
    if (this.noAck) return this.deliveries.deliver(this.prefix, delivery, undefined);
    this.inFlight++;
    this.deliveries.inFlight++;
    this.deliveries.deliver(this.prefix, delivery, this);
  }

  cancelled(): void {
    this.stop();
    this.onCancelled(this);
  }

  settled(): void {
    this.inFlight--;
    this.deliveries.inFlight--;
    if (this.stalled) this.wakeIfStalled();
  }

  wakeIfStalled(): void {
    if (!this.stalled || !this.ready()) return;
    this.stalled = false;
    this.queue.wake();
  }
}
