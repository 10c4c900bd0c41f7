/** The exchange types as a registry: a type makes a matcher, which holds one exchange's bindings in the shape that it searches. */
import type { Binding } from "./bindings.ts";
import { HeadersMatcher } from "./headersMatcher.ts";
import type { Headers, Matcher } from "./matcher.ts";
import { TopicTrie } from "./topicTrie.ts";

export interface ExchangeType {
  readonly name: string;
  /** The routing key alone decides, so that a route may be remembered by it. */
  readonly byKeyOnly: boolean;
  createMatcher(): Matcher;
  /** Throws PRECONDITION_FAILED for arguments that this type cannot match by. */
  checkBinding?(binding: Binding): void;
}

class DirectMatcher implements Matcher {
  private readonly byKey = new Map<string, Set<Binding>>();

  add(binding: Binding): void {
    const same = this.byKey.get(binding.routingKey);
    if (same === undefined) this.byKey.set(binding.routingKey, new Set([binding]));
    else same.add(binding);
  }

  remove(binding: Binding): void {
    const same = this.byKey.get(binding.routingKey);
    same?.delete(binding);
    if (same?.size === 0) this.byKey.delete(binding.routingKey);
  }

  match(routingKey: string, _headers: () => Headers, found: (binding: Binding) => void): void {
    this.byKey.get(routingKey)?.forEach(found);
  }
}

class FanoutMatcher implements Matcher {
  private readonly all = new Set<Binding>();

  add(binding: Binding): void {
    this.all.add(binding);
  }

  remove(binding: Binding): void {
    this.all.delete(binding);
  }

  match(_routingKey: string, _headers: () => Headers, found: (binding: Binding) => void): void {
    this.all.forEach(found);
  }
}

class TopicMatcher implements Matcher {
  private readonly trie = new TopicTrie<Binding>();

  add(binding: Binding): void {
    this.trie.add(binding.routingKey, binding);
  }

  remove(binding: Binding): void {
    this.trie.remove(binding.routingKey, binding);
  }

  match(routingKey: string, _headers: () => Headers, found: (binding: Binding) => void): void {
    this.trie.match(routingKey, found);
  }
}

const types: readonly ExchangeType[] = [
  { name: "direct", byKeyOnly: true, createMatcher: () => new DirectMatcher() },
  { name: "fanout", byKeyOnly: true, createMatcher: () => new FanoutMatcher() },
  { name: "topic", byKeyOnly: true, createMatcher: () => new TopicMatcher() },
  { name: "headers", byKeyOnly: false, createMatcher: () => new HeadersMatcher(), checkBinding: HeadersMatcher.check },
];

/** By name. */
export const exchangeTypes: ReadonlyMap<string, ExchangeType> = new Map(types.map((type) => [type.name, type]));
