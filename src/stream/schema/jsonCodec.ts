/**
 * JSON with what JSON lacks: a Date travels as ISO 8601 text in UTC (milliseconds are read too), a bigint as a number with all its digits
 * (text of digits is read too). Which property is one or the other says the schema.
 */
import { MillraceError } from "../../base/errors.ts";
import { toDate } from "./dates.ts";
import { issuesText, type Schema, type SchemaResult } from "./schema.ts";
import { type Revival, shapeOf } from "./shape.ts";

/** Why a value could not be read: where it goes (`<pipeline>.dead`) needs the reason as data. */
export class DecodeProblem {
  constructor(
    readonly code: "INVALID_JSON" | "SCHEMA_BREAK" | "NO_VALUE",
    readonly message: string,
  ) {}
}

/** No character of a sound text; marks what the digit scan did, so that it can't be taken for the sender's own text. */
const MARK = "\uE000";
const stringOrLongInteger = /"(?:[^"\\]|\\.)*"|(?<![\d.eE+-])-?\d{16,}(?![\d.eE])/gs;
const longDigits = /\d{16}/;
const integerText = /^-?\d+$/;

export class JsonCodec<T> {
  private readonly revival: Revival | undefined;
  private readonly hasBigint: boolean;
  private readonly validate: (value: unknown) => unknown;

  constructor(schema: Schema<unknown, T>) {
    const shape = shapeOf(schema);
    this.revival = shape.revival;
    this.hasBigint = shape.hasBigint;
    this.validate = schema["~standard"].validate;
  }

  decode(text: string): T | DecodeProblem {
    let value: unknown;
    try {
      value = this.hasBigint && longDigits.test(text) ? parseKeepingDigits(text, this.revival) : JSON.parse(text);
    } catch (error) {
      return new DecodeProblem("INVALID_JSON", error instanceof Error ? error.message : String(error));
    }
    if (this.revival !== undefined) value = revive(value, this.revival);
    const result = this.validate(value) as SchemaResult | Promise<unknown>;
    if (result instanceof Promise) throw asyncSchema();
    return result.issues === undefined ? (result.value as T) : new DecodeProblem("SCHEMA_BREAK", issuesText(result.issues));
  }

  encode(value: T): string {
    return this.hasBigint ? stringify(value) : JSON.stringify(value);
  }
}

function revive(value: unknown, revival: Revival): unknown {
  if (value === null || value === undefined) return value;
  switch (revival.kind) {
    case "date":
      return toDate(value) ?? value; // what is no date stays, and the schema says so
    case "bigint":
      if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
      return typeof value === "string" && integerText.test(value) ? BigInt(value) : value;
    case "list":
      return Array.isArray(value) ? value.map((item) => revive(item, revival.items)) : value;
    case "object": {
      if (typeof value !== "object") return value;
      const object = value as Record<string, unknown>;
      for (const [name, inner] of revival.properties) {
        const property = object[name];
        if (property !== undefined && property !== null) object[name] = revive(property, inner);
      }
      return object;
    }
  }
}

/** JSON.parse rounds above 2^53: long integers go through it as marked text. Texts that begin like a mark are marked as texts. */
function parseKeepingDigits(text: string, revival: Revival | undefined): unknown {
  JSON.parse(text); // what is marked must have been sound before
  const marked = text.replace(stringOrLongInteger, (token) => {
    if (token[0] !== '"') return `"${MARK}n${token}"`;
    return token[1] === MARK || token[1] === "\\" ? `"${MARK}s${token.slice(1)}` : token;
  });
  return unmark(JSON.parse(marked), revival);
}

function unmark(value: unknown, revival: Revival | undefined): unknown {
  if (typeof value === "string") {
    if (value[0] !== MARK) return value;
    const text = value.slice(2);
    if (value[1] !== "n") return text;
    return revival?.kind === "bigint" ? BigInt(text) : Number(text);
  }
  if (Array.isArray(value)) return value.map((item) => unmark(item, revival?.kind === "list" ? revival.items : undefined));
  if (typeof value !== "object" || value === null) return value;
  const inside = new Map(revival?.kind === "object" ? revival.properties : []);
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [unmark(name, undefined) as string, unmark(inner, inside.get(name))]),
  );
}

/** JSON.stringify for values that hold bigints, which it refuses. */
function stringify(value: unknown): string {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null || value instanceof Date) return JSON.stringify(value) ?? "null";
  if (Array.isArray(value)) return `[${value.map(stringify).join(",")}]`;
  const properties = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return `{${properties.map(([name, inner]) => `${JSON.stringify(name)}:${stringify(inner)}`).join(",")}}`;
}

function asyncSchema(): MillraceError {
  return new MillraceError("SCHEMA_ASYNC", "The schema validates asynchronously; a topic's records are read synchronously.", {
    domain: "user",
    hint: "Take async refinements and transforms out of the topic's schema.",
  });
}
