import type { ColumnType } from "../contract/columns.ts";

/** The column type of a value that no schema describes: a number is a double, whatever it is at the moment. undefined: it has none. */
export function columnTypeOfValue(value: unknown): ColumnType | undefined {
  switch (typeof value) {
    case "string":
      return "string";
    case "number":
      return "double";
    case "bigint":
      return "int64";
    case "boolean":
      return "boolean";
    default:
      if (value instanceof Date) return "timestamp";
      return value instanceof Uint8Array ? "bytes" : undefined;
  }
}
