import fc from "fast-check";
import { expect, test } from "vitest";
import { TopicTrie } from "../../src/broker/topicTrie.ts";
import type { HeaderValue } from "../../src/record/message.ts";
import { TestConsumer } from "./consumer.ts";
import { message } from "./message.ts";
import { BrokerNode } from "./node.ts";

/** The definition, word by word; exponential, and obviously right. */
function matches(pattern: readonly string[], key: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return key.length === 0;
  if (first === "#") return matches(rest, key) || (key.length > 0 && matches(pattern, key.slice(1)));
  return key.length > 0 && (first === "*" || first === key[0]) && matches(rest, key.slice(1));
}

const split = (text: string): string[] => (text === "" ? [] : text.split("."));
const words = (...of: string[]) => fc.array(fc.constantFrom(...of), { maxLength: 5 }).map((list) => list.join("."));
const pattern = words("a", "b", "", "*", "#", "#");
const key = words("a", "b", "c", "", "*", "#");

test("topic patterns match as their definition says, also after some were unbound", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(pattern, fc.boolean()), { maxLength: 12 }),
      fc.array(key, { minLength: 1, maxLength: 8 }),
      (bound, keys) => {
        const trie = new TopicTrie<number>();
        bound.forEach(([text], index) => trie.add(text, index));
        bound.forEach(([text, stays], index) => stays || trie.remove(text, index));
        for (const text of keys) {
          const found: number[] = [];
          trie.match(text, (value) => found.push(value));
          const expected = bound.flatMap(([of, stays], index) => (stays && matches(split(of), split(text)) ? [index] : []));
          expect(found.sort((a, b) => a - b)).toEqual(expected);
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test("a pattern of many # costs words times nodes, not more", () => {
  const trie = new TopicTrie<number>();
  trie.add(Array.from({ length: 60 }, (_, at) => (at % 2 === 0 ? "#" : "a")).join("."), 1);
  const found: number[] = [];
  trie.match(Array.from({ length: 120 }, () => "a").join("."), (value) => found.push(value));
  trie.match(Array.from({ length: 20 }, () => "a").join("."), (value) => found.push(value));
  expect(found).toEqual([1]);
});

const types = ["direct", "fanout", "topic", "headers"] as const;
interface Edge {
  readonly from: number;
  readonly toQueue: boolean;
  readonly to: number;
  readonly key: string;
  readonly header: string;
}
const exchangeCount = 5;
const queueCount = 4;
const edge: fc.Arbitrary<Edge> = fc.record({
  from: fc.nat(exchangeCount - 1),
  toQueue: fc.boolean(),
  to: fc.nat(queueCount - 1),
  key: fc.constantFrom("a", "b", "a.*", "#", "*.b"),
  header: fc.constantFrom("x", "y"),
});
const graph = fc.record({
  types: fc.array(fc.constantFrom(...types), { minLength: exchangeCount, maxLength: exchangeCount }),
  alternates: fc.array(fc.option(fc.nat(exchangeCount - 1)), { minLength: exchangeCount, maxLength: exchangeCount }),
  edges: fc.array(edge, { maxLength: 20 }),
  removed: fc.array(fc.nat(19), { maxLength: 5 }),
});
type Graph = typeof graph extends fc.Arbitrary<infer G> ? G : never;

const same = (a: Edge, b: Edge): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Follows every binding until nothing new is reached. */
function reachedQueues(of: Graph, edges: readonly Edge[], start: number, routingKey: string, header: string | undefined): string[] {
  const exchanges = new Set([start]);
  const queues = new Set<string>();
  for (const at of exchanges) {
    const matched = edges.filter((one) => {
      if (one.from !== at) return false;
      const type = of.types[at];
      if (type === "fanout") return true;
      if (type === "direct") return one.key === routingKey;
      if (type === "topic") return matches(split(one.key), split(routingKey));
      return one.header === header;
    });
    for (const one of matched) {
      if (one.toQueue) queues.add(`q${one.to}`);
      else exchanges.add(one.to);
    }
    const alternate = of.alternates[at];
    if (matched.length === 0 && typeof alternate === "number") exchanges.add(alternate);
  }
  return [...queues].sort();
}

test("a message reaches every queue that any chain of bindings leads to, each once, without going round for ever", async () => {
  const node = await BrokerNode.start();
  const { host } = node;
  let run = 0;
  await fc.assert(
    fc.asyncProperty(graph, async (of) => {
      const prefix = `r${run++}.`;
      const name = (index: number): string => `${prefix}x${index}`;
      const transient = { durable: false, autoDelete: false };
      for (const [index, type] of of.types.entries()) {
        const alternate = of.alternates[index];
        const args: Record<string, HeaderValue> = typeof alternate === "number" ? { "alternate-exchange": name(alternate) } : {};
        await host.declareExchange(name(index), { type, internal: false, arguments: args, ...transient });
      }
      const consumers = Array.from({ length: queueCount }, () => new TestConsumer({ noAck: true }));
      for (const [index, consumer] of consumers.entries()) {
        await host.declareQueue(`${prefix}q${index}`, { ...transient, exclusive: false, arguments: {} }, host);
        host.consume(`${prefix}q${index}`, consumer);
      }
      const change = async ({ from, toQueue, to, key: text, header }: Edge, bind: boolean): Promise<void> => {
        const args = { "x-match": "any", [header]: 1 };
        if (toQueue && bind) await host.bindQueue(`${prefix}q${to}`, name(from), text, args, host);
        else if (toQueue) await host.unbindQueue(`${prefix}q${to}`, name(from), text, args, host);
        else if (bind) await host.bindExchange(name(to), name(from), text, args);
        else await host.unbindExchange(name(to), name(from), text, args);
      };
      const check = (edges: readonly Edge[]): void => {
        for (let start = 0; start < exchangeCount; start++) {
          for (const routingKey of ["a", "b", "a.b", "c"]) {
            for (const header of ["x", "y", undefined]) {
              const headers = header === undefined ? {} : { [header]: 1 };
              const expected = reachedQueues(of, edges, start, routingKey, header);
              const taken = host.publish(message({ exchange: name(start), key: routingKey, headers }), undefined);
              const got = consumers.flatMap(({ received }, index) => received.splice(0).map(() => `q${index}`));
              expect(got).toEqual(expected);
              expect(taken).toBe(expected.length > 0);
            }
          }
        }
      };
      for (const one of of.edges) await change(one, true);
      check(of.edges);
      const removed = of.removed.flatMap((index) => of.edges.slice(index, index + 1));
      for (const one of removed) await change(one, false);
      check(of.edges.filter((one) => !removed.some((other) => same(one, other))));
      for (let index = 0; index < queueCount; index++)
        await host.deleteQueue(`${prefix}q${index}`, { ifUnused: false, ifEmpty: false }, host);
      check([]);
    }),
    { numRuns: 60 },
  );
  await node.stop();
});
