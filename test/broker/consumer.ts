import type { Consumer, Delivery, QueueHandle } from "../../src/broker/contract.ts";

export interface Received {
  readonly offset: number;
  readonly body: string;
  readonly redelivered: boolean;
  readonly queue: QueueHandle;
}

/** Takes up to `room` messages that it has not settled; remembers what came. */
export class TestConsumer implements Consumer {
  readonly received: Received[] = [];
  readonly tag: string;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  readonly owner: object;
  room: number;
  wasCancelled = false;

  constructor(
    options: {
      readonly tag?: string;
      readonly noAck?: boolean;
      readonly exclusive?: boolean;
      readonly owner?: object;
      readonly room?: number;
    } = {},
  ) {
    this.tag = options.tag ?? "test";
    this.noAck = options.noAck ?? false;
    this.exclusive = options.exclusive ?? false;
    this.owner = options.owner ?? this;
    this.room = options.room ?? Number.POSITIVE_INFINITY;
  }

  get bodies(): string[] {
    return this.received.map(({ body }) => body);
  }

  ready(): boolean {
    return this.room > 0;
  }

  deliver(delivery: Delivery, queue: QueueHandle): void {
    const { offset, redelivered } = delivery;
    this.received.push({ offset, body: delivery.content.toString(), redelivered, queue });
    if (!this.noAck) this.room--;
  }

  cancelled(): void {
    this.wasCancelled = true;
  }
}
