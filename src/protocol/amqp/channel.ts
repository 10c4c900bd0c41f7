import type { Owner, VirtualHost } from "../../broker/contract.ts";
import type { Address } from "../../record/address.ts";
import { ContentAssembler } from "./codec/contentAssembler.ts";
import { encodeMethod } from "./codec/methodCodec.ts";
import type { MethodArguments, MethodName } from "./codec/methods.ts";
import { Confirms } from "./confirms.ts";
import type { AmqpConsumer } from "./consumer.ts";
import { Deliveries } from "./deliveries.ts";
import type { Output } from "./output.ts";

/** What a channel needs of its connection. */
export interface ChannelHost {
  readonly owner: Owner;
  readonly virtualHost: VirtualHost;
  readonly output: Output;
  readonly frameMax: number;
  readonly unackedMax: number;
  readonly consumersMax: number;
  /** The client understands basic.cancel from the server. */
  readonly notifiesCancel: boolean;
  /** The channel has something for the end of the turn. */
  confirmsChanged(channel: Channel): void;
  failedToPersist(failure: Error): void;
}

/** A publish whose content has not come whole yet. */
export interface PendingPublish {
  readonly address: Address;
  readonly mandatory: boolean;
}

export class Channel {
  readonly deliveries: Deliveries;
  readonly assembler: ContentAssembler;
  readonly consumers = new Map<string, AmqpConsumer>();
  confirms: Confirms | undefined;
  pendingPublish: PendingPublish | undefined;
  /** We closed it: all is dropped until the client says so, too. */
  closing = false;
  /** basic.qos without global: for consumers to come. */
  prefetch = 0;
  /** The queue that an empty name means. */
  lastQueue: string | undefined;
  /** Its confirms wait for the end of the turn. */
  inTurn = false;

  constructor(
    readonly number: number,
    private readonly host: ChannelHost,
  ) {
    this.deliveries = new Deliveries(number, host.output, host.frameMax, host.unackedMax);
    this.assembler = new ContentAssembler(number, host.frameMax);
  }

  get virtualHost(): VirtualHost {
    return this.host.virtualHost;
  }

  get consumersMax(): number {
    return this.host.consumersMax;
  }

  get owner(): Owner {
    return this.host.owner;
  }

  send<N extends MethodName>(name: N, args: MethodArguments<N>): void {
    this.host.output.send(encodeMethod(this.number, name, args));
  }

  confirmPublishes(): void {
    const { host } = this;
    this.confirms ??= new Confirms(
      this.number,
      host.output,
      () => host.confirmsChanged(this),
      (failure) => host.failedToPersist(failure),
    );
  }

  /** The broker took a consumer away: its queue is gone. */
  readonly consumerGone = (consumer: AmqpConsumer): void => {
    this.consumers.delete(consumer.tag);
    if (!this.closing && this.host.notifiesCancel) this.send("basic.cancel", { consumerTag: consumer.tag, nowait: true });
  };

  /** Gives everything back to the broker: consumers leave first, so that what is requeued does not come to them again. */
  async release(): Promise<void> {
    this.closing = true;
    const consumers = [...this.consumers.values()];
    this.consumers.clear();
    for (const consumer of consumers) consumer.stop();
    const cancelled = consumers.map((consumer) => this.virtualHost.cancel(consumer.queueName, consumer));
    this.deliveries.requeueAll();
    this.confirms?.sealTurn();
    await Promise.all(cancelled);
  }
}
