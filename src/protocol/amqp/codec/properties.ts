import type { HeaderValue } from "../../../record/message.ts";
import { ByteReader } from "./byteReader.ts";
import { readTable } from "./fieldTable.ts";

type Kind = "text" | "octet" | "table" | "time";

/** In the order of the list; the first has the highest bit of the flags. */
const properties: readonly (readonly [name: string, kind: Kind])[] = [
  ["content-type", "text"],
  ["content-encoding", "text"],
  ["headers", "table"],
  ["delivery-mode", "octet"],
  ["priority", "octet"],
  ["correlation-id", "text"],
  ["reply-to", "text"],
  ["expiration", "text"],
  ["message-id", "text"],
  ["timestamp", "time"],
  ["type", "text"],
  ["user-id", "text"],
  ["app-id", "text"],
  ["cluster-id", "text"],
];

/**
 * Property flags and property list as they stand in a content header, by AMQP's names: for whoever looks at messages, not for those who
 * carry them. Throws a SYNTAX_ERROR if that is not what the bytes are, to the last one.
 */
export function decodeProperties(bytes: Buffer, at: number): Readonly<Record<string, HeaderValue>> {
  const reader = new ByteReader(bytes, at, bytes.length);
  const flags = reader.short();
  const found: Record<string, HeaderValue> = {};
  for (const [index, [name, kind]] of properties.entries()) {
    if ((flags & (1 << (15 - index))) !== 0) found[name] = readProperty(reader, kind);
  }
  reader.endsHere();
  return found;
}

function readProperty(reader: ByteReader, kind: Kind): HeaderValue {
  if (kind === "octet") return reader.octet();
  if (kind === "table") return readTable(reader);
  return kind === "time" ? new Date(reader.longLong() * 1000) : reader.looseShortString();
}
