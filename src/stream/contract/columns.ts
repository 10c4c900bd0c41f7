/** What a row of a file has: names, types, order. Connectors get it from the engine; they never guess. */
export type ColumnType = "int64" | "int32" | "double" | "string" | "boolean" | "timestamp" | "bytes";

export interface RowColumn {
  readonly name: string;
  readonly type: ColumnType;
  /** May be null or undefined in a row. */
  readonly optional: boolean;
}

/**
 * Fits the values: int64 takes a bigint or a safe integer number (else the row is refused, never rounded), int32 an integer number,
 * timestamp a Date or milliseconds (UTC, millisecond precision), bytes a Uint8Array.
 */
export type RowSchema = readonly RowColumn[];
