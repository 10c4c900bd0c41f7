/**
 * Values of operators' states as JSON, without loss: a Date is {"$date": ms}, a bigint {"$bigint": "digits"}, a number that JSON lacks
 * (NaN, the infinities, -0) {"$number": "text"}; an object with a key that begins with "$" is {"$object": it}. undefined is null.
 */
import type { Json } from "../../log/contract/keyedStore.ts";

export function packState(value: unknown): Json {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0) ? value : { $number: Object.is(value, -0) ? "-0" : String(value) };
    case "bigint":
      return { $bigint: value.toString() };
    case "object": {
      if (value === null) return null;
      if (value instanceof Date) return { $date: packState(value.getTime()) };
      if (Array.isArray(value)) return value.map(packState);
      const packed = Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, packState(inner)]));
      return Object.keys(packed).some((name) => name.startsWith("$")) ? { $object: packed } : packed;
    }
    default:
      return null;
  }
}

export function unpackState(json: Json): unknown {
  if (typeof json !== "object" || json === null) return json;
  if (Array.isArray(json)) return json.map(unpackState);
  const object = json as { readonly [name: string]: Json };
  if (object.$date !== undefined) return new Date(unpackState(object.$date) as number);
  if (object.$bigint !== undefined) return BigInt(object.$bigint as string);
  if (object.$number !== undefined) return Number(object.$number);
  return unpackObject((object.$object as typeof object | undefined) ?? object);
}

function unpackObject(object: { readonly [name: string]: Json }): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).map(([name, inner]) => [name, unpackState(inner)]));
}
