import type { ColumnType, RowSchema } from "../contract/columns.ts";
import type { RowPlace } from "../contract/sink.ts";
import type { KeyValue } from "../operators/types.ts";

/** What a keyBy keys by; the types are known at its first record. */
export interface KeySpec {
  readonly names: readonly string[];
  readonly types: (ColumnType | undefined)[];
}

export interface WindowSpec {
  readonly kind: string;
  readonly sizeMs: number;
  readonly offsetMs: number;
}

/** A key as a Map's key: equal keys are equal primitives. */
export type KeyId = string | number | bigint | boolean;

/** The row of a window that is on its way: who fires, which window, which key. */
export interface Firing {
  readonly operator: string;
  readonly windowStart: number;
  readonly keyId: KeyId;
}

/**
 * What is true of the value that is being pushed: beside the value, so that a stock operator can't lose it. An operator that
 * changes it puts it back after its push: a sibling behind a shared stream must not see it.
 */
export class RecordContext implements RowPlace {
  topic = "";
  partition = 0;
  offset = -1;
  /** Event time, ms. */
  timestamp = 0;
  keySpec: KeySpec | undefined;
  keyId: KeyId = "";
  keyValues: readonly KeyValue[] = [];
  windowStart = 0;
  windowEnd = 0;
  /** The very object that an engine stream emitted last, and its columns: while it is the same object, these are its columns. */
  emitted: unknown;
  emittedColumns: RowSchema | undefined;
  firing: Firing | undefined;

  /** The record's key for a topic: text as it is, several columns or another type as JSON. */
  get key(): string | undefined {
    if (this.keySpec === undefined) return undefined;
    const [only] = this.keyValues;
    if (this.keyValues.length === 1 && typeof only === "string") return only;
    return JSON.stringify(this.keyValues.length === 1 ? only : this.keyValues, (_, value) =>
      typeof value === "bigint" ? value.toString() : value,
    );
  }
}
