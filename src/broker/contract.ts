/**
 * The broker as a protocol sees it. No wire bytes. Errors are MillraceErrors with a code of `BrokerErrorCode`; a protocol
 * translates the code into its own (AMQP: NOT_FOUND is 404 on the channel, and so on).
 */
import type { ByteBudget } from "../base/byteBudget.ts";
import type { Address } from "../record/address.ts";
import type { ContentFormat, HeaderValue, Message } from "../record/message.ts";
import type { Receipt } from "../record/receipt.ts";

export const BrokerErrorCode = {
  notFound: "NOT_FOUND", // AMQP 404
  accessRefused: "ACCESS_REFUSED", // 403
  preconditionFailed: "PRECONDITION_FAILED", // 406
  resourceLocked: "RESOURCE_LOCKED", // 405
  notImplemented: "NOT_IMPLEMENTED", // 540
  internalError: "INTERNAL_ERROR", // 541
} as const;
export type BrokerErrorCode = (typeof BrokerErrorCode)[keyof typeof BrokerErrorCode];

export type Arguments = Readonly<Record<string, HeaderValue>>;

/** Whoever owns exclusive queues: a connection. Compared by identity. */
export type Owner = object;

export interface ExchangeOptions {
  readonly type: string;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly internal: boolean;
  readonly arguments: Arguments;
}

export interface QueueOptions {
  readonly durable: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  readonly arguments: Arguments;
}

export interface QueueState {
  readonly name: string;
  readonly messageCount: number;
  readonly consumerCount: number;
}

/** One copy of a message on its way to a consumer; the consumer's to settle, exactly once, through `QueueHandle`. */
export interface Delivery {
  readonly offset: number;
  /** `Address.encoded`: exchange and routing key as two short strings. */
  readonly address: Buffer;
  readonly contentFormat: ContentFormat;
  /** Valid only during `deliver`: copied out by then. */
  readonly content: Buffer;
  readonly redelivered: boolean;
}

export interface Consumer {
  readonly tag: string;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  readonly owner: Owner;
  /** May it be given one more now? False while its prefetch, its channel's unacknowledged limit or its socket is full. */
  ready(): boolean;
  /** With noAck the copy is gone when this returns; else the consumer settles it later. Called only when `ready()`. */
  deliver(delivery: Delivery, queue: QueueHandle): void;
  /** The queue was deleted. */
  cancelled(): void;
}

export interface QueueHandle {
  readonly name: string;
  acknowledge(offset: number): void;
  /** Back to its place; redelivered from then on. */
  requeue(offset: number): void;
  /** Rejected without requeue: gone (dead-lettered once there are dead letters). */
  discard(offset: number): void;
  /** A consumer that was not ready is ready again. Cheap; delivers at the end of the turn. */
  wake(): void;
}

export interface VirtualHost {
  readonly name: string;
  /** The interned address; the cache is bounded. */
  address(exchange: string, routingKey: string): Address;
  declareExchange(name: string, options: ExchangeOptions): Promise<void>;
  /** Passive: NOT_FOUND if it is not there. */
  checkExchange(name: string): void;
  deleteExchange(name: string, options: { readonly ifUnused: boolean }): Promise<void>;
  bindExchange(destination: string, source: string, routingKey: string, args: Arguments): Promise<void>;
  unbindExchange(destination: string, source: string, routingKey: string, args: Arguments): Promise<void>;
  /** An empty name asks for a generated one (amq.gen-...). A queue of `x-queue-type: stream` is a topic. */
  declareQueue(name: string, options: QueueOptions, owner: Owner): Promise<QueueState>;
  checkQueue(name: string, owner: Owner): QueueState;
  deleteQueue(name: string, options: { readonly ifUnused: boolean; readonly ifEmpty: boolean }, owner: Owner): Promise<number>;
  purgeQueue(name: string, owner: Owner): Promise<number>;
  bindQueue(queue: string, exchange: string, routingKey: string, args: Arguments, owner: Owner): Promise<void>;
  unbindQueue(queue: string, exchange: string, routingKey: string, args: Arguments, owner: Owner): Promise<void>;
  /**
   * Hot path, synchronous: routes once and hands the message to each destination. False: nothing took it (a mandatory message is
   * then returned by the protocol). NOT_FOUND for an unknown exchange, ACCESS_REFUSED for an internal one.
   * `receipt` is settled when every destination has it durable; transient messages and those delivered at once don't join.
   */
  publish(message: Message, receipt: Receipt | undefined): boolean;
  consume(queue: string, consumer: Consumer): QueueHandle;
  cancel(queue: string, consumer: Consumer): Promise<void>;
  /** basic.get: undefined if empty; the same settling as a delivery. `remaining` is what is left ready. */
  get(
    queue: string,
    noAck: boolean,
    owner: Owner,
  ): Promise<{ readonly delivery: Delivery; readonly queue: QueueHandle; readonly remaining: number } | undefined>;
  /** The connection is gone: its exclusive queues too. Its consumers were cancelled and its deliveries requeued by the protocol. */
  ownerGone(owner: Owner): Promise<void>;
}

export interface Broker {
  virtualHost(name: string): VirtualHost | undefined;
  /** Bytes published and not yet durable, of all connections: over it, publishers' sockets pause. */
  readonly publishBudget: ByteBudget;
  /** undefined: not allowed. */
  authenticate(user: string, password: string, remote: { readonly loopback: boolean }): { readonly user: string } | undefined;
  status(): BrokerStatus;
  /** No more publishes; what is confirmed is durable, topology closed. */
  close(): Promise<void>;
}

export interface BrokerStatus {
  readonly exchanges: number;
  /** Of all queues. */
  readonly journal: {
    /** Why queues take no messages now: JOURNAL_FAILED or JOURNAL_FULL. Undefined: they do. */
    readonly refused: string | undefined;
    /** Writes and syncs that failed since the start. */
    readonly failures: number;
    /** Found and passed over by the start; the log names file and position of each. */
    readonly damagedEntries: number;
  };
  readonly queues: readonly {
    readonly name: string;
    readonly ready: number;
    readonly unacknowledged: number;
    readonly consumers: number;
    readonly published: number;
    readonly delivered: number;
    readonly acknowledged: number;
    readonly duplicates: number;
  }[];
  readonly topics: readonly {
    readonly name: string;
    readonly partitions: readonly { readonly endOffset: number; readonly highWatermark: number }[];
    readonly published: number;
    readonly duplicates: number;
  }[];
}
