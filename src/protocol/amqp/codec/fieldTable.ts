/**
 * Field tables and arrays, with the type letters as RabbitMQ uses them (they differ from the 0-9-1 text):
 *
 *     table = bytes (4), then name (short string) letter value, ...
 *     array = bytes (4), then letter value, ...
 *     t boolean | b B octet | s U u short | I i long | l L long long | f float | d double | D decimal: scale (1) value (4)
 *     S long string | x bytes | A array | T seconds since 1970 (8) | F table | V nothing
 *
 * Lower-case s, l, b and upper-case U, L, I are signed. Nested at most `nestingMax` deep.
 */
import { isUtf8 } from "node:buffer";
import { MillraceError } from "../../../base/errors.ts";
import type { HeaderValue } from "../../../record/message.ts";
import type { ByteReader } from "./byteReader.ts";
import type { ByteWriter } from "./byteWriter.ts";
import { ProtocolError } from "./protocolError.ts";

export type FieldTable = { readonly [name: string]: HeaderValue };

export const nestingMax = 32;

export function readTable(reader: ByteReader, depth = 0): FieldTable {
  const end = readLength(reader, depth);
  // no prototype: a name may be `__proto__`
  const table: Record<string, HeaderValue> = Object.create(null);
  while (reader.at < end) {
    const name = reader.looseShortString();
    table[name] = readValue(reader, depth);
  }
  endsAt(reader, end);
  return table;
}

function readArray(reader: ByteReader, depth: number): HeaderValue[] {
  const end = readLength(reader, depth);
  const values: HeaderValue[] = [];
  while (reader.at < end) values.push(readValue(reader, depth));
  endsAt(reader, end);
  return values;
}

function readLength(reader: ByteReader, depth: number): number {
  if (depth > nestingMax) throw new ProtocolError("SYNTAX_ERROR", `a table nested more than ${nestingMax} deep`);
  const length = reader.long();
  const end = reader.at + length;
  if (end > reader.end) throw new ProtocolError("SYNTAX_ERROR", `a table of ${length} bytes, ${reader.end - reader.at} left in the frame`);
  return end;
}

function endsAt(reader: ByteReader, end: number): void {
  if (reader.at !== end) throw new ProtocolError("SYNTAX_ERROR", "a table's length is not that of its fields");
}

const readers: Readonly<Record<string, (reader: ByteReader, depth: number) => HeaderValue>> = {
  t: (reader) => reader.octet() !== 0,
  b: (reader) => reader.signedOctet(),
  B: (reader) => reader.octet(),
  s: (reader) => reader.signedShort(),
  U: (reader) => reader.signedShort(),
  u: (reader) => reader.short(),
  I: (reader) => reader.signedLong(),
  i: (reader) => reader.long(),
  l: readInt64,
  L: readInt64,
  f: (reader) => reader.float(),
  d: (reader) => reader.double(),
  D: readDecimal,
  S: readText,
  x: (reader) => reader.longString(),
  A: (reader, depth) => readArray(reader, depth + 1),
  T: (reader) => new Date(reader.longLong() * 1000),
  F: (reader, depth) => readTable(reader, depth + 1),
  V: () => null,
};

function readValue(reader: ByteReader, depth: number): HeaderValue {
  const letter = String.fromCharCode(reader.octet());
  const read = Object.hasOwn(readers, letter) ? readers[letter] : undefined;
  if (read === undefined) throw new ProtocolError("SYNTAX_ERROR", `unknown field type ${JSON.stringify(letter)}`);
  return read(reader, depth);
}

/** A number where that is exact. */
function readInt64(reader: ByteReader): number | bigint {
  const value = reader.signedLongLong();
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function readDecimal(reader: ByteReader): number {
  const scale = reader.octet();
  return reader.signedLong() / 10 ** scale;
}

/** Text, or the bytes where they are none: RabbitMQ lets any bytes be a long string. */
function readText(reader: ByteReader): string | Uint8Array {
  const bytes = reader.longString();
  return isUtf8(bytes) ? bytes.toString("utf8") : bytes;
}

export function writeTable(writer: ByteWriter, table: FieldTable): void {
  writer.withLength(() => {
    for (const [name, value] of Object.entries(table)) {
      writer.shortString(name);
      writeValue(writer, value);
    }
  });
}

function writeValue(writer: ByteWriter, value: HeaderValue): void {
  switch (typeof value) {
    case "boolean":
      writeLetter(writer, "t");
      return writer.octet(value ? 1 : 0);
    case "string":
      writeLetter(writer, "S");
      return writer.longString(Buffer.from(value));
    case "number":
      return writeNumber(writer, value);
    case "bigint":
      if (BigInt.asIntN(64, value) !== value) throw new MillraceError("AMQP_NUMBER_TOO_LARGE", `${value} is no int64`, { domain: "user" });
      writeLetter(writer, "l");
      return writer.signedLongLong(value);
    default:
      return writeObject(writer, value);
  }
}

function writeNumber(writer: ByteWriter, value: number): void {
  if (Object.is(value | 0, value)) {
    writeLetter(writer, "I");
    writer.signedLong(value);
  } else if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    writeLetter(writer, "l");
    writer.signedLongLong(BigInt(value));
  } else {
    writeLetter(writer, "d");
    writer.double(value);
  }
}

function writeObject(writer: ByteWriter, value: Exclude<HeaderValue, string | number | bigint | boolean>): void {
  if (value === null) {
    writeLetter(writer, "V");
  } else if (value instanceof Date) {
    writeLetter(writer, "T");
    writer.longLong(Math.floor(value.getTime() / 1000));
  } else if (value instanceof Uint8Array) {
    writeLetter(writer, "x");
    writer.longString(value);
  } else if (Array.isArray(value)) {
    writeLetter(writer, "A");
    writer.withLength(() => value.forEach((item) => writeValue(writer, item)));
  } else {
    writeLetter(writer, "F");
    writeTable(writer, value as FieldTable);
  }
}

function writeLetter(writer: ByteWriter, letter: string): void {
  writer.octet(letter.charCodeAt(0));
}
