/**
 * Arguments of exchanges, queues and bindings as JSON: for the topology store, and, with sorted names, for telling whether
 * two sets of arguments are the same. What JSON does not have is an object with one name that begins with "$":
 * {"$bigint": "1"}, {"$date": 978307200000}, {"$bytes": "base64"}, {"$number": "NaN"}; a table whose own names begin with "$" is
 * {"$table": {...}}.
 */
import type { Json } from "../log/contract/keyedStore.ts";
import type { HeaderValue } from "../record/message.ts";
import type { Arguments } from "./contract.ts";

export function argumentsToJson(args: Arguments): Json {
  return Object.fromEntries(
    Object.keys(args)
      .sort()
      .map((name) => [name, toJson(args[name] as HeaderValue)]),
  );
}

export function argumentsFromJson(json: Json): Arguments {
  return Object.fromEntries(Object.entries(json as { readonly [name: string]: Json }).map(([name, value]) => [name, fromJson(value)]));
}

/** Equal for equal arguments, whatever the order of their names. */
export const argumentsKey = (args: Arguments): string => JSON.stringify(argumentsToJson(args));

/** Equal for equal values. A number is the same as a bigint of that value: AMQP's integers come as either. */
export const valueKey = (value: HeaderValue): string => JSON.stringify(toJson(value));

function toJson(value: HeaderValue): Json {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : { $number: String(value) };
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : { $bigint: String(value) };
  }
  if (value instanceof Date) return { $date: value.getTime() };
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  if (Array.isArray(value)) return (value as readonly HeaderValue[]).map(toJson);
  const table = argumentsToJson(value as Arguments);
  return Object.keys(value).some((name) => name.startsWith("$")) ? { $table: table } : table;
}

function fromJson(json: Json): HeaderValue {
  if (json === null || typeof json !== "object") return json;
  if (Array.isArray(json)) return (json as readonly Json[]).map(fromJson);
  const table = json as { readonly [name: string]: Json };
  if (table.$number !== undefined) return Number(table.$number);
  if (table.$bigint !== undefined) return BigInt(table.$bigint as string);
  if (table.$date !== undefined) return new Date(table.$date as number);
  if (table.$bytes !== undefined) return Buffer.from(table.$bytes as string, "base64");
  return argumentsFromJson(table.$table ?? table);
}
