import type { Address } from "../record/address.ts";
import type { Message } from "../record/message.ts";
import { accessRefused, notFound } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import type { Queue } from "./queue.ts";
import type { Route } from "./route.ts";
import { AddressCache, RoutedAddress } from "./routedAddress.ts";
import type { TopicQueue, TopicTarget } from "./topicQueue.ts";

/** What routing reads of the topology. */
export interface RoutingTable {
  readonly name: string;
  readonly exchanges: ReadonlyMap<string, Exchange>;
  readonly queues: ReadonlyMap<string, Queue | TopicQueue>;
}

/**
 * Exchange and routing key -> destinations, through exchanges that are bound to exchanges, and alternate exchanges. Remembered
 * on the address until the topology changes, unless headers had a say.
 */
export class Router {
  private version = 0;
  private readonly addresses: AddressCache;

  constructor(
    private readonly table: RoutingTable,
    routeCacheEntriesMax: number,
  ) {
    this.addresses = new AddressCache(routeCacheEntriesMax);
  }

  address(exchange: string, routingKey: string): RoutedAddress {
    return this.addresses.get(exchange, routingKey);
  }

  /** Every remembered route is void: an exchange, a queue or a binding came or went. */
  changed(): void {
    this.version++;
  }

  route(message: Message): Route {
    const given = message.address;
    const address = given instanceof RoutedAddress ? given : this.address(given.exchange, given.routingKey);
    if (address.routeVersion === this.version) return address.route as Route;
    const { route, byKeyOnly } = this.resolve(address, message);
    if (byKeyOnly) {
      address.route = route;
      address.routeVersion = this.version;
    }
    return route;
  }

  private resolve(address: Address, message: Message): { readonly route: Route; readonly byKeyOnly: boolean } {
    const found = new Set<Queue | TopicQueue>();
    const byKeyOnly = address.exchange === "" ? this.throughDefault(address.routingKey, found) : this.walk(address, message, found);
    const queues: Queue[] = [];
    const topics: TopicTarget[] = [];
    for (const destination of found) {
      if (destination.kind === "queue") queues.push(destination);
      else topics.push(destination.target(address));
    }
    return { route: { queues, topics, dedupes: [...found].some((destination) => destination.dedupes) }, byKeyOnly };
  }

  private throughDefault(routingKey: string, found: Set<Queue | TopicQueue>): true {
    const queue = this.table.queues.get(routingKey);
    if (queue !== undefined) found.add(queue);
    return true;
  }

  private walk(address: Address, message: Message, found: Set<Queue | TopicQueue>): boolean {
    const first = this.table.exchanges.get(address.exchange);
    if (first === undefined) throw notFound(`no exchange '${address.exchange}' in vhost '${this.table.name}'`);
    if (first.options.internal) {
      throw accessRefused(`cannot publish to internal exchange '${address.exchange}' in vhost '${this.table.name}'`);
    }
    let byKeyOnly = true;
    const reached = new Set<Exchange>([first]); // a Set goes on with what is added while it is walked
    const reach = (name: string): void => {
      if (name === "") this.throughDefault(address.routingKey, found);
      const exchange = this.table.exchanges.get(name);
      if (exchange !== undefined) reached.add(exchange);
    };
    for (const exchange of reached) {
      byKeyOnly &&= exchange.type.byKeyOnly;
      let matched = false;
      exchange.matcher.match(
        address.routingKey,
        () => message.headers(),
        (binding) => {
          matched = true;
          if (binding.kind === "exchange") return reach(binding.destination);
          const queue = this.table.queues.get(binding.destination);
          if (queue !== undefined) found.add(queue);
        },
      );
      if (!matched && exchange.alternate !== undefined) reach(exchange.alternate);
    }
    return byKeyOnly;
  }
}
