/** A topic exchange with a thousand bindings. The peer: one pattern after the other. */

import { Random } from "../src/base/random.ts";
import { exchangeTypes } from "../src/broker/exchangeTypes.ts";
import { AddressCache } from "../src/broker/routedAddress.ts";
import { type BenchPart, measure, type Printer } from "./measure.ts";

const BINDINGS = 1_000;
const KEYS = 10_000;
const SEED = 1;

function patternsAndKeys(): { readonly patterns: readonly string[]; readonly keys: readonly string[] } {
  const random = new Random(SEED);
  const airport = (): string => String.fromCharCode(65 + random.below(26), 65 + random.below(26));
  const patterns = Array.from({ length: BINDINGS }, () =>
    random.pick([`${airport()}.*`, `*.${airport()}`, `${airport()}.${airport()}`, `${airport()}.#`]),
  );
  return { patterns, keys: Array.from({ length: KEYS }, () => `${airport()}.${airport()}`) };
}

export const routing: BenchPart = {
  name: "routing",
  async run(print: Printer) {
    const { patterns, keys } = patternsAndKeys();
    const type = exchangeTypes.get("topic");
    if (type === undefined) throw new Error("there is no topic exchange");
    const matcher = type.createMatcher();
    for (const [index, routingKey] of patterns.entries()) {
      matcher.add({ kind: "queue", source: "x", destination: `q${index}`, routingKey, arguments: {} });
    }
    const split = patterns.map((pattern) => pattern.split("."));

    let found = 0;
    const naive = await measure(KEYS, () => {
      found = 0;
      for (const key of keys) found += countMatches(split, key.split("."));
    });
    const expected = found;
    const searched = await measure(KEYS, () => {
      found = 0;
      for (const key of keys)
        matcher.match(
          key,
          () => undefined,
          () => found++,
        );
    });
    if (found !== expected) throw new Error(`the matcher found ${found} bindings, one pattern after the other finds ${expected}`);
    print.line("routing: a key the first time", searched, { name: "one pattern after the other", measured: naive });

    const cache = new AddressCache(100_000);
    const remembered = await measure(KEYS * 100, () => {
      for (let n = 0; n < 100; n++) for (const key of keys) cache.get("x", key);
    });
    print.line("routing: a key that came before", remembered);
  },
};

function countMatches(patterns: readonly (readonly string[])[], key: readonly string[]): number {
  let count = 0;
  for (const pattern of patterns) if (matches(pattern, key)) count++;
  return count;
}

/** Patterns of two words, `#` only as the second. */
function matches(pattern: readonly string[], key: readonly string[]): boolean {
  return (pattern[0] === "*" || pattern[0] === key[0]) && (pattern[1] === "*" || pattern[1] === "#" || pattern[1] === key[1]);
}
