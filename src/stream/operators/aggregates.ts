import { MillraceError } from "../../base/errors.ts";
import type { ColumnType } from "../contract/columns.ts";
import type { KeyValue } from "./types.ts";

/** "same": the type of what it reads, known at the first value. */
type AggregateColumn = ColumnType | "same";

/**
 * What is kept of the values of one key in one window, and what it gives. The state is made of numbers, bigints, strings, booleans, Dates,
 * null and objects of these: it goes into the checkpoint.
 */
export interface Aggregate<in T, out R> {
  readonly kind: string;
  readonly column: AggregateColumn;
  readonly start: () => unknown;
  /** The new state; may be the old object, changed. */
  readonly add: (state: unknown, value: T) => unknown;
  readonly result: (state: unknown) => R;
}

/** How many. A number in code, int64 in files. */
export function count(): Aggregate<unknown, number> {
  return { kind: "count", column: "int64", start: () => 0, add: (state) => (state as number) + 1, result: (state) => state as number };
}

/** The sum: of numbers a double, of bigints an int64. */
export function sum<T, R extends number | bigint>(of: (value: T) => R): Aggregate<T, R extends number ? number : bigint> {
  return {
    kind: "sum",
    column: "same",
    start: () => null,
    add: (state, value) => {
      const addend = numeric(of(value), "sum");
      if (state === null) return addend;
      if (typeof state !== typeof addend) throw mixedTypes("sum", state, addend);
      return (state as number) + (addend as number);
    },
    result: (state) => state as R extends number ? number : bigint,
  };
}

interface MeanState {
  sum: number;
  count: number;
}

/** The arithmetic mean, a double. */
export function mean<T>(of: (value: T) => number | bigint): Aggregate<T, number> {
  return {
    kind: "mean",
    column: "double",
    start: () => ({ sum: 0, count: 0 }) satisfies MeanState,
    add: (state, value) => {
      const mutable = state as MeanState;
      mutable.sum += Number(numeric(of(value), "mean"));
      mutable.count++;
      return mutable;
    },
    result: (state) => (state as MeanState).sum / (state as MeanState).count,
  };
}

/** The greatest value; of equal ones the first. NaN counts as greater than every number. */
export function max<T, R extends KeyValue>(of: (value: T) => R): Aggregate<T, R> {
  return extreme("max", of, (candidate, best) => candidate > best || (isNaN(candidate) && !isNaN(best)));
}

/** The least value; of equal ones the first. NaN counts as greater than every number. */
export function min<T, R extends KeyValue>(of: (value: T) => R): Aggregate<T, R> {
  return extreme("min", of, (candidate, best) => candidate < best || (isNaN(best) && !isNaN(candidate)));
}

function extreme<T, R extends KeyValue>(kind: string, of: (value: T) => R, better: (candidate: R, best: R) => boolean): Aggregate<T, R> {
  return {
    kind,
    column: "same",
    start: () => null,
    add: (state, value) => {
      const candidate = of(value);
      if (candidate === null || candidate === undefined) throw noValue(kind, candidate);
      if (state === null) return candidate;
      if (typeof state !== typeof candidate) throw mixedTypes(kind, state, candidate);
      return better(candidate, state as R) ? candidate : state;
    },
    result: (state) => state as R,
  };
}

const isNaN = (value: unknown): boolean => value !== value;

function numeric(value: unknown, kind: string): number | bigint {
  if (typeof value === "number" || typeof value === "bigint") return value;
  throw noValue(kind, value);
}

function noValue(kind: string, value: unknown): MillraceError {
  return new MillraceError("AGGREGATE_INPUT", `${kind}() was given ${value === null ? "null" : typeof value}.`, {
    domain: "user",
    hint: "Filter such records out before the aggregate, or give a value in their place.",
  });
}

function mixedTypes(kind: string, one: unknown, other: unknown): MillraceError {
  return new MillraceError("AGGREGATE_INPUT", `${kind}() was given a ${typeof other} after a ${typeof one}.`, {
    domain: "user",
    hint: "Convert to one type in the aggregate's function.",
  });
}
