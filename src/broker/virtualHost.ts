import { randomBytes } from "node:crypto";
import { MillraceError } from "../base/errors.ts";
import type { EmbeddedLog } from "../log/contract/embeddedLog.ts";
import type { Message } from "../record/message.ts";
import type { Receipt } from "../record/receipt.ts";
import { checkQueueArgumentNames } from "./argumentNames.ts";
import { type Binding, bindingKey } from "./bindings.ts";
import type { BrokerLimits } from "./config.ts";
import type {
  Arguments,
  Consumer,
  Delivery,
  ExchangeOptions,
  Owner,
  QueueHandle,
  QueueOptions,
  QueueState,
  VirtualHost,
} from "./contract.ts";
import { checkExchangeArguments, checkNameIsFree, checkSameExchange, checkSameQueue } from "./declarations.ts";
import type { Dispatcher } from "./dispatch.ts";
import { accessRefused, closed, notFound, notImplemented, preconditionFailed, resourceLocked } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { exchangeTypes } from "./exchangeTypes.ts";
import type { Queue } from "./queue.ts";
import type { QueueIds } from "./queueIds.ts";
import { queueSettings } from "./queueSettings.ts";
import { Removal } from "./removal.ts";
import type { RoutedAddress } from "./routedAddress.ts";
import type { Router } from "./routing.ts";
import type { Serial } from "./serial.ts";
import { deleteTopicQueue, withoutDeletion } from "./topicDeletion.ts";
import type { TopicQueue } from "./topicQueue.ts";
import type { Topology } from "./topology.ts";

export interface HostParts {
  readonly topology: Topology;
  readonly router: Router;
  readonly dispatcher: Dispatcher;
  readonly queueIds: QueueIds;
  readonly log: EmbeddedLog;
  readonly limits: BrokerLimits;
  /** Changes of the topology wait for each other: what one has checked still holds when it is applied. */
  readonly serial: Serial;
}

export class Host implements VirtualHost {
  private closing = false;
  /** Being written down. */
  private readonly pending = { queues: 0, bindings: 0 };

  constructor(
    readonly name: string,
    private readonly parts: HostParts,
  ) {}

  private get topology(): Topology {
    return this.parts.topology;
  }

  // ---- exchanges

  declareExchange(name: string, options: ExchangeOptions): Promise<void> {
    return this.change(async () => {
      const where = `exchange '${name}' in vhost '${this.name}'`;
      refuseDefault(name);
      if (!exchangeTypes.has(options.type)) throw preconditionFailed(`unknown exchange type '${options.type}'`);
      const present = this.topology.exchanges.get(name);
      if (present !== undefined) return checkSameExchange(present.options, options, where);
      checkNameIsFree("exchange", name);
      checkExchangeArguments(options.arguments, where);
      this.checkLimit("exchange", this.topology.exchanges.size, this.parts.limits.exchangesMax);
      await this.topology.commit([{ kind: "exchange", name, options }]);
    });
  }

  checkExchange(name: string): void {
    refuseDefault(name);
    this.exchange(name);
  }

  deleteExchange(name: string, options: { readonly ifUnused: boolean }): Promise<void> {
    return this.change(async () => {
      refuseDefault(name);
      checkNameIsFree("exchange", name);
      if (!this.topology.exchanges.has(name)) return;
      if (options.ifUnused && this.topology.bindings.countFrom(name) > 0) {
        throw preconditionFailed(`exchange '${name}' in vhost '${this.name}' in use`);
      }
      await this.topology.commit(new Removal(this.topology).exchange(name).changes);
    });
  }

  bindExchange(destination: string, source: string, routingKey: string, args: Arguments): Promise<void> {
    return this.change(async () => {
      refuseDefault(destination);
      refuseDefault(source);
      this.exchange(destination);
      await this.bind({ source, kind: "exchange", destination, routingKey, arguments: args });
    });
  }

  unbindExchange(destination: string, source: string, routingKey: string, args: Arguments): Promise<void> {
    return this.change(async () => {
      refuseDefault(destination);
      refuseDefault(source);
      await this.unbind({ source, kind: "exchange", destination, routingKey, arguments: args });
    });
  }

  // ---- queues

  declareQueue(name: string, options: QueueOptions, owner: Owner): Promise<QueueState> {
    const wanted = name === "" ? generatedName() : name;
    const declare = async (): Promise<QueueState> => {
      checkQueueArgumentNames(options.arguments, `for ${this.whereQueue(name)}`);
      const present = this.topology.queues.get(wanted);
      if (present !== undefined) {
        this.checkAccess(present, owner);
        checkSameQueue(present.options, options, this.whereQueue(name));
        return stateOf(present);
      }
      if (name !== "") checkNameIsFree("queue", name);
      return stateOf(await this.createQueue(wanted, options, owner));
    };
    // a topic has files of its own, and takes its time
    return options.arguments["x-queue-type"] === "stream" ? this.change(declare) : this.changeBeside(wanted, declare);
  }

  checkQueue(name: string, owner: Owner): QueueState {
    const queue = this.queue(name);
    this.checkAccess(queue, owner);
    return stateOf(queue);
  }

  deleteQueue(name: string, options: { readonly ifUnused: boolean; readonly ifEmpty: boolean }, owner: Owner): Promise<number> {
    return this.change(async () => {
      const queue = this.topology.queues.get(name);
      if (queue === undefined) return 0;
      this.checkAccess(queue, owner);
      if (queue.kind === "topic") {
        if (options.ifEmpty) throw notImplemented(`if-empty for the stream ${this.whereQueue(name)} is not implemented`);
        await deleteTopicQueue(name, this.topology, this.parts.log);
        return 0;
      }
      if (options.ifUnused && queue.consumers.count > 0) throw preconditionFailed(`${this.whereQueue(name)} in use`);
      if (options.ifEmpty && queue.readyCount > 0) throw preconditionFailed(`${this.whereQueue(name)} is not empty`);
      return this.removeQueue(queue);
    });
  }

  async purgeQueue(name: string, owner: Owner): Promise<number> {
    const queue = this.queue(name);
    this.checkAccess(queue, owner);
    return this.plainQueue(queue, "purging").purge();
  }

  bindQueue(queue: string, exchange: string, routingKey: string, args: Arguments, owner: Owner): Promise<void> {
    return this.changeBeside(queue, async () => {
      this.checkAccess(this.queue(queue), owner);
      refuseDefault(exchange);
      await this.bind({ source: exchange, kind: "queue", destination: queue, routingKey, arguments: args });
    });
  }

  unbindQueue(queue: string, exchange: string, routingKey: string, args: Arguments, owner: Owner): Promise<void> {
    return this.change(async () => {
      const bound = this.topology.queues.get(queue);
      if (bound !== undefined) this.checkAccess(bound, owner);
      refuseDefault(exchange);
      await this.unbind({ source: exchange, kind: "queue", destination: queue, routingKey, arguments: args });
    });
  }

  // ---- messages

  address(exchange: string, routingKey: string): RoutedAddress {
    return this.parts.router.address(exchange, routingKey);
  }

  publish(message: Message, receipt: Receipt | undefined): boolean {
    if (this.closing) throw closed();
    return this.parts.dispatcher.dispatch(this.parts.router.route(message), message, receipt);
  }

  consume(name: string, consumer: Consumer): QueueHandle {
    if (this.closing) throw closed();
    const found = this.queue(name);
    this.checkAccess(found, consumer.owner);
    const queue = this.plainQueue(found, "consuming from");
    queue.consumers.add(consumer, this.whereQueue(name));
    queue.hadConsumers = true;
    queue.wake();
    return queue;
  }

  async cancel(name: string, consumer: Consumer): Promise<void> {
    const queue = this.topology.queues.get(name);
    if (queue?.kind !== "queue" || !queue.consumers.delete(consumer)) return;
    if (!queue.options.autoDelete || queue.consumers.count > 0) return;
    await this.change(async () => {
      if (!queue.deleted && queue.consumers.count === 0) await this.removeQueue(queue);
    });
  }

  async get(
    name: string,
    noAck: boolean,
    owner: Owner,
  ): Promise<{ readonly delivery: Delivery; readonly queue: QueueHandle; readonly remaining: number } | undefined> {
    if (this.closing) throw closed();
    const found = this.queue(name);
    this.checkAccess(found, owner);
    const queue = this.plainQueue(found, "basic.get of");
    const delivery = await queue.take(noAck);
    return delivery === undefined ? undefined : { delivery, queue, remaining: queue.readyCount };
  }

  async ownerGone(owner: Owner): Promise<void> {
    await this.parts.serial.run(async () => {
      for (const queue of this.topology.queues.values()) {
        if (queue.kind === "queue" && queue.owner === owner) await this.removeQueue(queue);
      }
    });
  }

  /** Nothing comes in and nothing goes out from now on; resolves when the changes that were asked for are done. */
  async close(): Promise<void> {
    this.closing = true;
    await this.parts.serial.idle();
  }

  // ---- within

  private async createQueue(name: string, options: QueueOptions, owner: Owner): Promise<Queue | TopicQueue> {
    const settings = queueSettings(options, this.parts.limits, `for ${this.whereQueue(name)}`);
    this.checkLimit("queue", this.topology.queues.size + this.pending.queues, this.parts.limits.queuesMax);
    if (settings.kind === "topic") {
      const { partitions, sync, properties } = settings;
      const asked = { ...properties, ...(partitions !== undefined && { partitions }), ...(sync !== undefined && { sync }) };
      await this.parts.log.createTopic(name, asked).catch((error: unknown) => {
        if (!(error instanceof MillraceError && error.domain === "user")) throw error;
        throw preconditionFailed(`cannot make the topic ${this.whereQueue(name)}: ${error.message}`, error.hint);
      });
    }
    this.pending.queues++;
    try {
      const declared = { id: await this.parts.queueIds.take(), options, owner: options.exclusive ? owner : undefined };
      await this.topology.commit(
        [{ kind: "queue", name, declared }],
        settings.kind === "topic" ? withoutDeletion(this.topology, name) : undefined,
      );
    } finally {
      this.pending.queues--;
    }
    return this.topology.queues.get(name) as Queue | TopicQueue;
  }

  private async removeQueue(queue: Queue): Promise<number> {
    await this.topology.commit(new Removal(this.topology).queue(queue.name).changes);
    return queue.delete();
  }

  private async bind(binding: Binding): Promise<void> {
    const source = this.exchange(binding.source);
    if (this.topology.bindings.get(bindingKey(binding)) !== undefined) return;
    source.type.checkBinding?.(binding);
    this.checkLimit("binding", this.topology.bindings.size + this.pending.bindings, this.parts.limits.bindingsMax);
    this.pending.bindings++;
    try {
      await this.topology.commit([{ kind: "binding", binding, present: true }]);
    } finally {
      this.pending.bindings--;
    }
  }

  private async unbind(wanted: Binding): Promise<void> {
    const binding = this.topology.bindings.get(bindingKey(wanted));
    if (binding !== undefined) await this.topology.commit(new Removal(this.topology).binding(binding).changes);
  }

  private change<T>(task: () => Promise<T>): Promise<T> {
    return this.parts.serial.run(() => {
      if (this.closing) throw closed();
      return task();
    });
  }

  /** Beside those of other queues: many that are asked for at once share a sync. It takes nothing away that another one relies on. */
  private changeBeside<T>(queue: string, task: () => Promise<T>): Promise<T> {
    return this.parts.serial.runBeside(queue, () => {
      if (this.closing) throw closed();
      return task();
    });
  }

  private exchange(name: string): Exchange {
    const exchange = this.topology.exchanges.get(name);
    if (exchange === undefined) throw notFound(`no exchange '${name}' in vhost '${this.name}'`);
    return exchange;
  }

  private queue(name: string): Queue | TopicQueue {
    const queue = this.topology.queues.get(name);
    if (queue === undefined) throw notFound(`no ${this.whereQueue(name)}`);
    return queue;
  }

  private plainQueue(queue: Queue | TopicQueue, what: string): Queue {
    if (queue.kind === "queue") return queue;
    throw notImplemented(`${what} the stream ${this.whereQueue(queue.name)} is not implemented`);
  }

  private checkAccess(queue: Queue | TopicQueue, owner: Owner): void {
    if (queue.kind === "topic" || queue.owner === undefined || queue.owner === owner) return;
    throw resourceLocked(`cannot obtain exclusive access to locked ${this.whereQueue(queue.name)}`);
  }

  private checkLimit(what: string, count: number, most: number): void {
    if (count >= most) throw preconditionFailed(`${what} limit in vhost '${this.name}' (${most}) is reached`);
  }

  private whereQueue(name: string): string {
    return `queue '${name}' in vhost '${this.name}'`;
  }
}

const generatedName = (): string => `amq.gen-${randomBytes(16).toString("base64url")}`;

function stateOf(queue: Queue | TopicQueue): QueueState {
  // a topic has no messages that wait for someone: who reads it keeps an offset
  if (queue.kind === "topic") return { name: queue.name, messageCount: 0, consumerCount: 0 };
  return { name: queue.name, messageCount: queue.readyCount, consumerCount: queue.consumers.count };
}

function refuseDefault(exchange: string): void {
  if (exchange === "") throw accessRefused("operation not permitted on the default exchange");
}
