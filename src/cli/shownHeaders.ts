/** A record's parts as JSON for people: text as it is, other bytes as `{ "base64": ... }`, and what AMQP keeps in one header taken apart. */
import { isUtf8 } from "node:buffer";
import { amqpHeader } from "../broker/topicQueue.ts";
import { decodeProperties } from "../protocol/amqp/codec/properties.ts";
import { Address } from "../record/address.ts";
import type { HeaderValue } from "../record/message.ts";
import type { RecordHeader } from "../record/record.ts";

type Shown = null | boolean | number | string | readonly Shown[] | { readonly [name: string]: Shown };

export interface ShownHeaders {
  /** Of a message that came over AMQP: where it was published to, and its properties by AMQP's names. */
  readonly amqp?: { readonly [name: string]: Shown };
  readonly headers: readonly { readonly key: string; readonly value: Shown }[];
}

export function shownHeaders(headers: readonly RecordHeader[]): ShownHeaders {
  const found = headers.find(({ key }) => key === amqpHeader);
  const amqp = found === undefined ? undefined : amqpOf(found.value);
  if (amqp === undefined) return storedHeaders(headers);
  return { amqp, ...storedHeaders(headers.filter((header) => header !== found)) };
}

/** As they lie there. */
export const storedHeaders = (headers: readonly RecordHeader[]): ShownHeaders => ({
  headers: headers.map(({ key, value }) => ({ key, value: shownBytes(value) })),
});

export function shownBytes(bytes: Uint8Array | null): Shown {
  if (bytes === null) return null;
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return isUtf8(whole) ? whole.toString("utf8") : { base64: whole.toString("base64") };
}

/** Undefined: somebody else's header of this name. */
function amqpOf(value: Uint8Array | null): ShownHeaders["amqp"] {
  if (value === null || value.length < 2) return undefined;
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  try {
    const { exchange, routingKey, encoded } = Address.decode(bytes);
    const properties = Object.entries(decodeProperties(bytes, encoded.length));
    return { exchange, "routing-key": routingKey, ...Object.fromEntries(properties.map(([name, one]) => [name, shownValue(one)])) };
  } catch {
    return undefined;
  }
}

function shownValue(value: HeaderValue): Shown {
  if (typeof value === "bigint") return value.toString();
  if (value === null || typeof value !== "object") return value;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof Uint8Array) return shownBytes(value);
  if (Array.isArray(value)) return (value as readonly HeaderValue[]).map(shownValue);
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shownValue(inner)]));
}
