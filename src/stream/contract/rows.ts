/**
 * Which row types have columns, decided by the compiler: `sink(rows, parquet(...))` doesn't compile when a property has no one column type,
 * and the last line of the message names the property and the remedy.
 */

export type IsAny<T> = 0 extends 1 & T ? true : false;

type Kind<V> = V extends string
  ? "string"
  : V extends number
    ? "double"
    : V extends bigint
      ? "int64"
      : V extends boolean
        ? "boolean"
        : V extends Date
          ? "timestamp"
          : V extends Uint8Array
            ? "bytes"
            : V extends object
              ? "object"
              : never;

type IsUnion<U, A = U> = [U] extends [never] ? false : U extends unknown ? ([A] extends [U] ? false : true) : never;

type BadValue<V, P extends string> =
  IsAny<V> extends true
    ? `column '${P}' is 'any': put as(Schema) before the sink`
    : unknown extends V
      ? `column '${P}' is 'unknown': put as(Schema) before the sink`
      : [V] extends [never]
        ? never
        : IsUnion<Kind<V>> extends true
          ? `column '${P}' has more than one type: make it one, or two columns`
          : [V] extends [string | number | bigint | boolean | Date | Uint8Array]
            ? never
            : `column '${P}' has no column type: map it to a string, number, bigint, boolean, Date or Uint8Array`;

/** never if every property has exactly one column type, else a message that names the property. */
export type BadColumn<T> =
  IsAny<T> extends true
    ? "the row is 'any': put as(Schema) before the sink"
    : unknown extends T
      ? "the row is 'unknown' (rxjs types at most 9 operators in a pipe): split the pipe"
      : T extends PromiseLike<unknown>
        ? "the row is a Promise: make it synchronously, the engine does not wait for it"
        : T extends object
          ? { [P in keyof T & string]-?: BadValue<NonNullable<T[P]>, P> }[keyof T & string]
          : "the row is no object: map it to { column: value }";

/** Intersected with the stream's type: accepts everything when no column is bad. */
export type NoBadColumn<T> = [BadColumn<T>] extends [never] ? unknown : BadColumn<T>;
