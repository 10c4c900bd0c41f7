import { MillraceError } from "../../../src/base/errors.ts";
import type { ColumnType, RowColumn } from "../../../src/stream/contract/columns.ts";
import type { StagedValue } from "./columnBuffer.ts";
import { valueBytesMax } from "./format.ts";

const int64Min = -(2n ** 63n);
const int64Max = 2n ** 63n - 1n;

/** The value as its column keeps it; throws ROW_REFUSED when it does not fit. Never rounds, never converts from text. */
export function checkValue(column: RowColumn, value: unknown): StagedValue {
  if (value === null || value === undefined) {
    if (column.optional) return null;
    throw refused(column, value, "which is required");
  }
  switch (column.type) {
    case "int64":
      if (typeof value === "number" && Number.isSafeInteger(value)) return value;
      if (typeof value === "bigint" && value >= int64Min && value <= int64Max) return value;
      break;
    case "int32":
      if (typeof value === "number" && (value | 0) === value) return value;
      break;
    case "double":
      if (typeof value === "number") return value;
      break;
    case "string":
      if (typeof value === "string" && fitsText(value)) return value;
      break;
    case "boolean":
      if (typeof value === "boolean") return value;
      break;
    case "timestamp": {
      const ms = value instanceof Date ? value.getTime() : value;
      if (typeof ms === "number" && Number.isSafeInteger(ms)) return ms;
      break;
    }
    case "bytes":
      // copied: the caller may use its memory again
      if (value instanceof Uint8Array && value.length <= valueBytesMax) return value.slice();
      break;
  }
  throw refused(column, value, wanted[column.type]);
}

const wanted: Readonly<Record<ColumnType, string>> = {
  int64: "which takes a bigint of 64 bits or a safe integer",
  int32: "which takes an integer of 32 bits",
  double: "which takes a number",
  string: `which takes a string of at most ${valueBytesMax} bytes`,
  boolean: "which takes a boolean",
  timestamp: "which takes a valid Date or whole milliseconds",
  bytes: `which takes a Uint8Array of at most ${valueBytesMax} bytes`,
};

function fitsText(text: string): boolean {
  return text.length <= valueBytesMax / 3 || Buffer.byteLength(text) <= valueBytesMax;
}

function refused(column: RowColumn, value: unknown, takes: string): MillraceError {
  return new MillraceError("ROW_REFUSED", `the row has ${kindOf(value)} in column "${column.name}" (${column.type}), ${takes}`, {
    domain: "user",
    where: `column "${column.name}"`,
    hint: "Correct the row where it is made, or give the column another type.",
  });
}

/** For the message: the kind of value, and the value itself only where it is short. */
function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return `the ${typeof value} ${value}`;
  if (typeof value === "string") return `a string of ${value.length} characters`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "an invalid Date" : "a Date";
  if (value instanceof Uint8Array) return `a Uint8Array of ${value.length} bytes`;
  return Array.isArray(value) ? "an array" : `a value of type ${typeof value}`;
}
