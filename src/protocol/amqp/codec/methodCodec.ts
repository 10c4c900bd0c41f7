import { ByteReader } from "./byteReader.ts";
import { ByteWriter } from "./byteWriter.ts";
import { readTable, writeTable } from "./fieldTable.ts";
import { type ArgumentKind, type ArgumentTypes, type Method, type MethodArguments, type MethodName, methods } from "./methods.ts";
import { FrameType, frameEnd, frameOverheadBytes } from "./protocol.ts";
import { ProtocolError } from "./protocolError.ts";

const names = new Map<number, MethodName>();
for (const [name, { id }] of Object.entries(methods)) names.set(id[0] * 65536 + id[1], name as MethodName);

export function methodName(classId: number, methodId: number): MethodName | undefined {
  return names.get(classId * 65536 + methodId);
}

/** Decodes a method frame's payload; every value is a copy. */
export function decodeMethod(bytes: Buffer, start: number, end: number): Method {
  const reader = new ByteReader(bytes, start, end);
  const classId = reader.short();
  const methodId = reader.short();
  const name = methodName(classId, methodId);
  if (name === undefined) throw new ProtocolError("NOT_IMPLEMENTED", `unknown method: class ${classId}, method ${methodId}`);
  const values: Record<string, unknown> = {};
  const bits = { octet: 0, next: 8 };
  for (const [argument, kind] of Object.entries(methods[name].arguments) as [string, ArgumentKind][]) {
    if (kind !== "bit") {
      bits.next = 8;
      values[argument] = readers[kind](reader);
      continue;
    }
    if (bits.next === 8) {
      bits.octet = reader.octet();
      bits.next = 0;
    }
    values[argument] = ((bits.octet >> bits.next++) & 1) === 1;
  }
  if (reader.at !== end) throw new ProtocolError("SYNTAX_ERROR", `${name} has ${end - reader.at} bytes too many`);
  return { name, arguments: values } as Method; // the table gave each argument its type
}

const readers: { readonly [K in Exclude<ArgumentKind, "bit">]: (reader: ByteReader) => ArgumentTypes[K] } = {
  octet: (reader) => reader.octet(),
  short: (reader) => reader.short(),
  long: (reader) => reader.long(),
  longlong: (reader) => reader.longLong(),
  shortstr: (reader) => reader.shortString(),
  longstr: (reader) => reader.longString(),
  table: (reader) => readTable(reader),
};

const writers: { readonly [K in Exclude<ArgumentKind, "bit">]: (writer: ByteWriter, value: ArgumentTypes[K]) => void } = {
  octet: (writer, value) => writer.octet(value),
  short: (writer, value) => writer.short(value),
  long: (writer, value) => writer.long(value),
  longlong: (writer, value) => writer.longLong(value),
  shortstr: (writer, value) => writer.shortString(value),
  longstr: (writer, value) => writer.longString(value),
  table: (writer, value) => writeTable(writer, value),
};

/** A whole method frame. */
export function encodeMethod<N extends MethodName>(channel: number, name: N, args: MethodArguments<N>): Buffer {
  const layout = methods[name];
  const writer = new ByteWriter();
  writer.octet(FrameType.method);
  writer.short(channel);
  writer.long(0);
  writer.short(layout.id[0]);
  writer.short(layout.id[1]);
  const bits = { octet: 0, next: 0 };
  const flushBits = (): void => {
    if (bits.next > 0) writer.octet(bits.octet);
    bits.octet = 0;
    bits.next = 0;
  };
  for (const [argument, kind] of Object.entries(layout.arguments) as [string, ArgumentKind][]) {
    const value = (args as Record<string, unknown>)[argument];
    if (kind === "bit") {
      if (bits.next === 8) flushBits();
      if (value === true) bits.octet |= 1 << bits.next;
      bits.next++;
    } else {
      flushBits();
      (writers[kind] as (writer: ByteWriter, value: unknown) => void)(writer, value);
    }
  }
  flushBits();
  writer.octet(frameEnd);
  const frame = writer.written();
  frame.writeUInt32BE(frame.length - frameOverheadBytes, 3);
  return frame;
}
