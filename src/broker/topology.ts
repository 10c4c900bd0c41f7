/**
 * Exchanges, queues and bindings of a virtual host. A change is decided by whoever asks for it, written down if it has to survive a
 * restart, and then applied; the same `apply` runs at the next start. Keys of the store, as JSON:
 *
 *   ["exchange", vhost, name]        {type, autoDelete, internal, arguments}
 *   ["queue", vhost, name]           {id, autoDelete, arguments}
 *   ["binding", vhost, binding key]  {source, kind, destination, routingKey, arguments}
 *
 * A binding is durable if both its ends are; an exclusive queue never is.
 */
import { assert } from "../base/errors.ts";
import type { Json, KeyedStore } from "../log/contract/keyedStore.ts";
import { argumentsFromJson, argumentsToJson } from "./arguments.ts";
import { type Binding, Bindings, bindingKey, type DestinationKind } from "./bindings.ts";
import type { ExchangeOptions, Owner, QueueOptions } from "./contract.ts";
import { Exchange } from "./exchange.ts";
import { exchangeTypes } from "./exchangeTypes.ts";
import type { Queue } from "./queue.ts";
import type { TopicQueue } from "./topicQueue.ts";

/** Of the keyed store that it is in: raised when the values mean something else. */
export const topologyVersion = 1;

export interface DeclaredQueue {
  readonly id: number;
  readonly options: QueueOptions;
  readonly owner: Owner | undefined;
}

/** Undefined or false: it goes. */
export type TopologyChange =
  | { readonly kind: "exchange"; readonly name: string; readonly options: ExchangeOptions | undefined }
  | { readonly kind: "queue"; readonly name: string; readonly declared: DeclaredQueue | undefined }
  | { readonly kind: "binding"; readonly binding: Binding; readonly present: boolean };

type JsonObject = { readonly [key: string]: Json };

export class Topology {
  readonly exchanges = new Map<string, Exchange>();
  readonly queues = new Map<string, Queue | TopicQueue>();
  readonly bindings = new Bindings();
  /** Every remembered route is void. */
  onChange: () => void = () => undefined;

  constructor(
    readonly name: string,
    private readonly store: KeyedStore,
    private readonly createQueue: (name: string, declared: DeclaredQueue) => Queue | TopicQueue,
  ) {}

  /** @param also entries of others that must be written in the same moment. */
  async commit(changes: readonly TopologyChange[], also: ReadonlyMap<string, Json | null> = new Map()): Promise<void> {
    const entries = new Map(also);
    for (const change of changes) {
      const entry = this.entryOf(change);
      if (entry !== undefined) entries.set(...entry);
    }
    if (entries.size > 0) await this.store.change(entries);
    for (const change of changes) this.apply(change);
  }

  apply(change: TopologyChange): void {
    if (change.kind === "exchange") this.applyExchange(change.name, change.options);
    else if (change.kind === "queue") this.applyQueue(change.name, change.declared);
    else this.applyBinding(change.binding, change.present);
    this.onChange();
  }

  /** What the store holds of this virtual host, in an order in which it can be applied. */
  stored(): TopologyChange[] {
    const found: Record<TopologyChange["kind"], TopologyChange[]> = { exchange: [], queue: [], binding: [] };
    for (const [key, value] of this.store.entries) {
      const [kind, host, name] = JSON.parse(key) as [string, string, string];
      if (host === this.name && kind in found) found[kind as TopologyChange["kind"]].push(changeOf(kind, name, value as JsonObject));
    }
    return [...found.exchange, ...found.queue, ...found.binding];
  }

  private applyExchange(name: string, options: ExchangeOptions | undefined): void {
    if (options === undefined) {
      this.exchanges.delete(name);
      return;
    }
    const type = exchangeTypes.get(options.type);
    assert(type !== undefined, `the type of exchange '${name}' is known`);
    this.exchanges.set(name, new Exchange(name, type, options));
  }

  private applyQueue(name: string, declared: DeclaredQueue | undefined): void {
    if (declared === undefined) this.queues.delete(name);
    else this.queues.set(name, this.createQueue(name, declared));
  }

  private applyBinding(binding: Binding, present: boolean): void {
    const { matcher } = this.exchanges.get(binding.source) as Exchange;
    if (present) {
      this.bindings.add(binding);
      matcher.add(binding);
    } else {
      this.bindings.delete(binding);
      matcher.remove(binding);
    }
  }

  private entryOf(change: TopologyChange): [key: string, value: Json | null] | undefined {
    if (change.kind === "exchange") {
      const options = change.options ?? this.exchanges.get(change.name)?.options;
      if (!options?.durable) return undefined;
      return [storeKey("exchange", this.name, change.name), change.options === undefined ? null : exchangeJson(change.options)];
    }
    if (change.kind === "queue") {
      if (!isDurable(change.declared?.options ?? this.queues.get(change.name)?.options)) return undefined;
      return [storeKey("queue", this.name, change.name), change.declared === undefined ? null : queueJson(change.declared)];
    }
    const { source, kind, destination } = change.binding;
    const durable =
      this.exchanges.get(source)?.options.durable &&
      (kind === "exchange" ? this.exchanges.get(destination)?.options.durable : isDurable(this.queues.get(destination)?.options));
    if (!durable) return undefined;
    return [storeKey("binding", this.name, bindingKey(change.binding)), change.present ? bindingJson(change.binding) : null];
  }
}

export const storeKey = (...parts: string[]): string => JSON.stringify(parts);

/** Does a queue declared like this survive a restart? */
export const isDurable = (options: QueueOptions | undefined): boolean => options !== undefined && options.durable && !options.exclusive;

const exchangeJson = ({ type, autoDelete, internal, arguments: args }: ExchangeOptions): Json => {
  return { type, autoDelete, internal, arguments: argumentsToJson(args) };
};

const queueJson = ({ id, options }: DeclaredQueue): Json => {
  return { id, autoDelete: options.autoDelete, arguments: argumentsToJson(options.arguments) };
};

const bindingJson = (binding: Binding): Json => ({ ...binding, arguments: argumentsToJson(binding.arguments) });

function changeOf(kind: string, name: string, json: JsonObject): TopologyChange {
  const args = argumentsFromJson(json.arguments as Json);
  const autoDelete = json.autoDelete as boolean;
  if (kind === "exchange") {
    const options = { type: json.type as string, durable: true, autoDelete, internal: json.internal as boolean, arguments: args };
    return { kind, name, options };
  }
  if (kind === "queue") {
    const options = { durable: true, exclusive: false, autoDelete, arguments: args };
    return { kind, name, declared: { id: json.id as number, options, owner: undefined } };
  }
  const binding: Binding = {
    source: json.source as string,
    kind: json.kind as DestinationKind,
    destination: json.destination as string,
    routingKey: json.routingKey as string,
    arguments: args,
  };
  return { kind: "binding", binding, present: true };
}
