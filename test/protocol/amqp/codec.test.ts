import fc from "fast-check";
import { expect, test } from "vitest";
import { AmqpMessage } from "../../../src/protocol/amqp/codec/amqpMessage.ts";
import { ByteReader } from "../../../src/protocol/amqp/codec/byteReader.ts";
import { ByteWriter } from "../../../src/protocol/amqp/codec/byteWriter.ts";
import { ContentAssembler } from "../../../src/protocol/amqp/codec/contentAssembler.ts";
import { contentBytes, writeContent } from "../../../src/protocol/amqp/codec/contentFrames.ts";
import { readTable, writeTable } from "../../../src/protocol/amqp/codec/fieldTable.ts";
import { deliverBytes, deliverPrefix, settleFrameBytes, writeDeliver, writeSettle } from "../../../src/protocol/amqp/codec/hotMethods.ts";
import { decodeMethod, encodeMethod } from "../../../src/protocol/amqp/codec/methodCodec.ts";
import { type MethodName, methods } from "../../../src/protocol/amqp/codec/methods.ts";
import { ProtocolError } from "../../../src/protocol/amqp/codec/protocolError.ts";
import { scanTable } from "../../../src/protocol/amqp/codec/tableScan.ts";
import { Address } from "../../../src/record/address.ts";
import type { HeaderValue } from "../../../src/record/message.ts";
import { contentHeader, frame, publish } from "./raw.ts";

const shortText = fc.string({ unit: "binary", maxLength: 60 });
const { value } = fc.letrec<{ value: HeaderValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.boolean(),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true }),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n }),
    fc.string({ unit: "binary" }),
    fc.constant(null),
    fc.integer({ min: 0, max: 4e9 }).map((seconds) => new Date(seconds * 1000)),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(shortText, tie("value"), { maxKeys: 4 }),
  ),
}));
const table = fc.dictionary(shortText, value, { maxKeys: 6 });

function tableBytes(fields: Record<string, HeaderValue>): Buffer {
  const writer = new ByteWriter();
  writeTable(writer, fields);
  return Buffer.from(writer.written());
}

test("a field table comes out as it went in", () => {
  fc.assert(
    fc.property(table, (fields) => {
      const bytes = tableBytes(fields);
      expect({ ...readTable(new ByteReader(bytes, 0, bytes.length)) }).toEqual(fields);
      expect(scanTable(bytes, 0, bytes.length)).toBe(bytes.length);
    }),
  );
});

test("a broken table is refused by the scan exactly where reading it fails", () => {
  fc.assert(
    fc.property(table, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.boolean(), (fields, where, octet, cut) => {
      const whole = tableBytes(fields);
      const bytes = cut ? whole.subarray(0, where % (whole.length + 1)) : Buffer.from(whole);
      if (!cut) bytes[where % bytes.length] = octet;
      let end = -1;
      const reader = new ByteReader(bytes, 0, bytes.length);
      try {
        readTable(reader);
        end = reader.at;
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
      expect(scanTable(bytes, 0, bytes.length)).toBe(end);
    }),
    { numRuns: 2000 },
  );
});

test("tables nested without end are refused", () => {
  let fields: HeaderValue = {};
  for (let depth = 0; depth < 40; depth++) fields = { x: fields };
  const bytes = tableBytes(fields as Record<string, HeaderValue>);
  expect(() => readTable(new ByteReader(bytes, 0, bytes.length))).toThrow("nested");
  expect(scanTable(bytes, 0, bytes.length)).toBe(-1);
});

const kinds = {
  octet: fc.integer({ min: 0, max: 255 }),
  short: fc.integer({ min: 0, max: 65_535 }),
  long: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  longlong: fc.maxSafeNat(),
  bit: fc.boolean(),
  shortstr: shortText,
  longstr: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  table,
} as const;

test.each(Object.keys(methods) as MethodName[])("%s comes out as it went in, and cut anywhere it is a clean error", (name) => {
  const shape = Object.fromEntries(Object.entries(methods[name].arguments).map(([key, kind]) => [key, kinds[kind as keyof typeof kinds]]));
  fc.assert(
    fc.property(fc.record(shape), fc.nat(), (args, where) => {
      const bytes = encodeMethod(7, name, args as never);
      expect(bytes.readUInt32BE(3)).toBe(bytes.length - 8);
      const decoded = decodeMethod(bytes, 7, bytes.length - 1);
      expect(decoded.name).toBe(name);
      expect({ ...decoded.arguments }).toEqual(args);
      const payload = bytes.subarray(7, -1);
      const cut = payload.subarray(0, where % payload.length);
      expect(() => decodeMethod(cut, 0, cut.length)).toThrow(ProtocolError);
    }),
    { numRuns: 30 },
  );
});

test("the methods laid out by hand are those of the table", () => {
  fc.assert(
    fc.property(shortText, fc.maxSafeNat(), fc.boolean(), shortText, shortText, (tag, deliveryTag, redelivered, exchange, routingKey) => {
      const address = new Address(exchange, routingKey).encoded;
      const prefix = deliverPrefix(3, tag);
      const deliver = Buffer.alloc(deliverBytes(prefix, address));
      expect(writeDeliver(deliver, 0, prefix, deliveryTag, redelivered, address)).toBe(deliver.length);
      expect(deliver).toEqual(encodeMethod(3, "basic.deliver", { consumerTag: tag, deliveryTag, redelivered, exchange, routingKey }));
      const ack = Buffer.alloc(settleFrameBytes);
      writeSettle(ack, 0, 3, 80, deliveryTag, redelivered);
      expect(ack).toEqual(encodeMethod(3, "basic.ack", { deliveryTag, multiple: redelivered }));
    }),
  );
});

/** message-id and headers among others, as a client would order them. */
const properties = Buffer.concat([
  Buffer.of(0xb0, 0x80),
  Buffer.of(4),
  Buffer.from("text"),
  tableBytes({ a: 1, b: "two" }),
  Buffer.of(2),
  Buffer.of(3),
  Buffer.from("id1"),
]);

test("a message tells its properties, headers, id and body, and keeps their bytes", () => {
  const body = Buffer.from("abcdefghij");
  const content = publish(1, "x", "key", body, 3, properties);
  const message = new AmqpMessage(new Address("", ""));
  message.reset(new Address("x", "key"), content.subarray(content.readUInt32BE(3) + 8));
  expect(message.persistent).toBe(true);
  expect(message.messageId()).toBe("id1");
  expect({ ...message.headers() }).toEqual({ a: 1, b: "two" });
  expect(message.body()).toEqual(body);
  expect(message.properties()).toEqual(properties);
});

test("message-ids that are no text are told apart", () => {
  const idOf = (id: Buffer): string | undefined => {
    const content = publish(1, "x", "key", Buffer.alloc(0), 3, Buffer.concat([Buffer.of(0, 0x80), Buffer.of(id.length), id]));
    const message = new AmqpMessage(new Address("", ""));
    message.reset(new Address("x", "key"), content.subarray(content.readUInt32BE(3) + 8));
    return message.messageId();
  };
  expect(idOf(Buffer.from("grün"))).toBe("grün");
  const ids = [...Array(256).keys()].map((octet) => Buffer.of(1, octet));
  ids.push(Buffer.from("\ufffd"), Buffer.from("\u0001\ufffd"), Buffer.from("\ufffd0180"));
  expect(new Set(ids.map(idOf)).size).toBe(ids.length);
});

test("broken properties are a clean error", () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 0, max: 255 }), (where, octet) => {
      const broken = Buffer.from(properties);
      broken[where % broken.length] = octet;
      const message = new AmqpMessage(new Address("", ""));
      try {
        message.reset(message.address, contentHeader(1, 0, broken));
        message.headers();
        message.messageId();
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }),
    { numRuns: 2000 },
  );
});

test("content is cut again for a consumer that takes shorter frames, and only for it", () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 20_000 }),
      fc.integer({ min: 1, max: 9000 }),
      fc.integer({ min: 100, max: 9000 }),
      (bytes, frameBytes, frameMax) => {
        const body = Buffer.from(Array.from({ length: bytes }, (_, i) => i & 255));
        const whole = publish(1, "", "q", body, frameBytes);
        const content = whole.subarray(whole.readUInt32BE(3) + 8);
        const total = contentBytes(content, frameMax);
        const into = Buffer.alloc(total + 2, 0xee);
        writeContent(into, 1, content, total, 514, frameMax);
        expect([into[0], into[total + 1]]).toEqual([0xee, 0xee]);
        const bodies: Buffer[] = [];
        let wellFormed = true;
        for (let at = 1; at < total; at += into.readUInt32BE(at + 3) + 8) {
          const size = into.readUInt32BE(at + 3);
          wellFormed &&= into.readUInt16BE(at + 1) === 514 && size + 8 <= frameMax && into[at + 7 + size] === 0xce;
          if (into[at] === 3) bodies.push(into.subarray(at + 7, at + 7 + size));
        }
        expect(wellFormed).toBe(true);
        expect(Buffer.concat(bodies).equals(body)).toBe(true);
        if (frameBytes + 8 <= frameMax) expect(total).toBe(content.length);
      },
    ),
  );
});

test("a body in frames of one byte does not take nine times its size", () => {
  const assembler = new ContentAssembler(1, 4096);
  const header = contentHeader(1, 10_000);
  assembler.header(header, 7, header.length - 1);
  for (let i = 0; i < 10_000; i++) assembler.body(frame(3, 1, Buffer.of(i)), 7, 8);
  expect(assembler.complete).toBe(true);
  expect(assembler.content().length).toBeLessThan(10_000 + 100);
});
