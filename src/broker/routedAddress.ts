import { Address } from "../record/address.ts";
import { preconditionFailed } from "./errors.ts";
import type { Route } from "./route.ts";

/** An interned address with the route that was last found for it: the same again costs one comparison. */
export class RoutedAddress extends Address {
  route: Route | undefined = undefined;
  /** The topology's version that `route` belongs to. */
  routeVersion = -1;
}

/**
 * Two generations of at most half of the limit each: when the young one is full it becomes the old one, and what is
 * still used moves over. No list to maintain on a hit.
 */
export class AddressCache {
  private young = new Map<string, Map<string, RoutedAddress>>();
  private old = new Map<string, Map<string, RoutedAddress>>();
  private youngCount = 0;

  constructor(private readonly entriesMax: number) {}

  get(exchange: string, routingKey: string): RoutedAddress {
    let ofExchange = this.young.get(exchange);
    const found = ofExchange?.get(routingKey);
    if (found !== undefined) return found;
    const address = this.old.get(exchange)?.get(routingKey) ?? create(exchange, routingKey);
    if (this.youngCount >= this.entriesMax / 2) {
      this.old = this.young;
      this.young = new Map();
      this.youngCount = 0;
      ofExchange = undefined;
    }
    if (ofExchange === undefined) this.young.set(exchange, (ofExchange = new Map()));
    ofExchange.set(routingKey, address);
    this.youngCount++;
    return address;
  }
}

function create(exchange: string, routingKey: string): RoutedAddress {
  if (Buffer.byteLength(exchange) > 255 || Buffer.byteLength(routingKey) > 255) {
    throw preconditionFailed("an exchange's name and a routing key have at most 255 bytes");
  }
  return new RoutedAddress(exchange, routingKey);
}
