/** The types that make a pipe compile only in the right order: keyBy, then a window, then what needs both. */

import type { Observable } from "rxjs";
import type { IsAny } from "../contract/rows.ts";

/* The names are what a person reads in the compiler's message when one is missing. */
declare const put_keyBy_before_this: unique symbol;
declare const put_tumbling_before_this: unique symbol;

/** Phantom: nothing of it is there at run time; the value passes unboxed, its key travels beside it. */
export interface KeyOf<K> {
  readonly [put_keyBy_before_this]: K;
}
export interface InWindow {
  readonly [put_tumbling_before_this]: true;
}
export type Keyed<K, T> = T & KeyOf<K>;
export type Windowed<K, T> = T & KeyOf<K> & InWindow;

export type KeyValue = string | number | bigint | boolean | Date;
/** Spells a type out, so that hovers and errors show its properties. */
export type Show<T> = { [P in keyof T]: T[P] } & {};

/** Every row of a window has them. */
export interface Bounds {
  windowStart: Date;
  windowEnd: Date;
}

/** An aggregate named like a key column or a bound is refused at its own line. */
export type NoClash<A, K> = {
  [P in keyof A]: IsAny<K> extends true
    ? unknown
    : P extends keyof K | keyof Bounds
      ? `'${P & string}' is already a column of the row: name the aggregate otherwise`
      : unknown;
};

/** A side output: a stream that operators push into. Made by the pipeline's builder, so that a restart or a test never shares one. */
export interface Output<in out T> extends Observable<T> {
  readonly id: string;
  /** Phantom: what operators may push. Never called. */
  readonly takes?: (value: T) => void;
}
