import { Random } from "../../../src/base/random.ts";
import type { ColumnType, RowSchema } from "../../../src/stream/contract/columns.ts";
import type { Row } from "./encode.ts";

const types: readonly ColumnType[] = ["int64", "int32", "double", "string", "boolean", "timestamp", "bytes"];

const texts = [
  "",
  "a",
  "Z",
  "zürich",
  "東京",
  "\u{1f600}",
  "\ue000",
  "\uffff",
  "\ud800",
  "x\udc00y",
  "tab\tnewline\n",
  "0",
  "__HIVE_DEFAULT_PARTITION__",
];
const doubles = [0, -0, NaN, Infinity, -Infinity, Number.MAX_VALUE, Number.MIN_VALUE, -1.5, 2 ** 53, 0.1];
const longs = [0, -1, 1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 2 ** 31, -(2 ** 31), 2 ** 32, -(2 ** 32) - 1];
const bigs = [2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n, -(2n ** 53n) - 1n, 0n, -1n];
const ints = [0, -1, 1, 2 ** 31 - 1, -(2 ** 31)];
const times = [0, -1, 1, Date.UTC(2001, 0, 1), Date.UTC(1969, 11, 31), Date.UTC(9999, 11, 31), Date.UTC(1, 0, 1), -123_456_789];

export interface Made {
  readonly schema: RowSchema;
  readonly rows: Row[];
}

/** A random schema with rows full of border cases; how many distinct values a column has varies from one to all. */
export function randomRows(seed: number, rowCount: number): Made {
  const random = new Random(seed);
  const schema = Array.from({ length: 1 + random.below(9) }, (_, i) => ({
    name: i === 3 ? "spalte ü" : `c${i}`,
    type: random.pick(types),
    optional: random.below(2) === 0,
  }));
  const habits = schema.map(() => ({ nulls: random.pick([0, 0.01, 0.5, 0.99, 1]), distinct: random.pick([1, 2, 20, 1000, Infinity]) }));
  const rows = Array.from({ length: rowCount }, () => {
    const row: Row = {};
    schema.forEach(({ name, type, optional }, i) => {
      const habit = habits[i] as (typeof habits)[0];
      if (optional && random.next() < habit.nulls) {
        if (random.below(2) === 0) row[name] = null;
        return;
      }
      row[name] = value(type, random, habit.distinct);
    });
    return row;
  });
  return { schema, rows };
}

function value(type: ColumnType, random: Random, distinct: number): unknown {
  const odd = random.below(10) === 0;
  const n = random.below(Math.min(distinct, 2 ** 31));
  switch (type) {
    case "boolean":
      return n % 2 === 0;
    case "int32":
      return odd ? random.pick(ints) : n - 500;
    case "int64":
      if (odd) return random.below(2) === 0 ? random.pick(longs) : random.pick(bigs);
      return random.below(2) === 0 ? n * 4_000_001 : BigInt(n) * 4_000_000_000n;
    case "double":
      return odd ? random.pick(doubles) : n / 7;
    case "timestamp": {
      const ms = odd ? random.pick(times) : 978_307_200_000 + n * 60_000;
      return random.below(2) === 0 ? new Date(ms) : ms;
    }
    case "string":
      return odd ? random.pick(texts) : `value ${n}${"-".repeat(random.below(3) * 20)}`;
    case "bytes":
      return odd ? new Uint8Array(0) : Uint8Array.from({ length: random.below(20) }, () => random.below(256));
  }
}
