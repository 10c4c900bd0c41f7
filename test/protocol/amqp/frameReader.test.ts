/** The same bytes, however they are split, give the same publishes and frames, or the same error. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { AmqpMessage } from "../../../src/protocol/amqp/codec/amqpMessage.ts";
import { bodySize, ContentAssembler } from "../../../src/protocol/amqp/codec/contentAssembler.ts";
import { FrameReader, type FrameSink } from "../../../src/protocol/amqp/codec/frameReader.ts";
import { encodeMethod } from "../../../src/protocol/amqp/codec/methodCodec.ts";
import { FrameType } from "../../../src/protocol/amqp/codec/protocol.ts";
import { ProtocolError } from "../../../src/protocol/amqp/codec/protocolError.ts";
import { Address } from "../../../src/record/address.ts";
import { contentHeader, frame, publish, publishMethod } from "./raw.ts";

const frameMax = 4096;

/** Writes down what comes out, in a form that does not depend on how the content was cut into frames. */
class Transcript implements FrameSink {
  readonly lines: string[] = [];
  wholes = 0;
  private readonly assemblers = new Map<number, ContentAssembler>();
  private readonly methods = new Map<number, string>();

  publish(channel: number, bytes: Buffer, methodStart: number, contentStart: number, contentEnd: number): void {
    this.wholes++;
    if (this.methods.has(channel)) return this.failed(channel, "a method in the middle of a publish");
    this.message(channel, bytes.toString("hex", methodStart, contentStart - 1), bytes.subarray(contentStart, contentEnd));
  }

  frame(type: number, channel: number, bytes: Buffer, start: number, end: number): void {
    try {
      this.take(type, channel, bytes, start, end);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.failed(channel, error.message);
    }
  }

  malformed(error: ProtocolError): void {
    this.lines.push(`the end: ${error.message}`);
  }

  private take(type: number, channel: number, bytes: Buffer, start: number, end: number): void {
    const method = this.methods.get(channel);
    if (type === FrameType.method) {
      if (method !== undefined) throw new ProtocolError("UNEXPECTED_FRAME", "a method in the middle of a publish");
      const isPublish = end - start >= 9 && bytes[start + 1] === 60 && bytes[start + 3] === 40;
      if (isPublish) this.methods.set(channel, bytes.toString("hex", start, end));
      else this.lines.push(`${channel} method ${bytes.toString("hex", start, end)}`);
      return;
    }
    if (type !== FrameType.header && type !== FrameType.body) return void this.lines.push(`${channel} type ${type}`);
    if (method === undefined) throw new ProtocolError("UNEXPECTED_FRAME", "content without a method");
    const assembler = this.assemblers.get(channel) ?? new ContentAssembler(channel, frameMax);
    this.assemblers.set(channel, assembler);
    if (type === FrameType.header && bodySize(bytes, start, end) > 1e6) throw new ProtocolError("PRECONDITION_FAILED", "too large");
    if (type === FrameType.header) assembler.header(bytes, start, end);
    else assembler.body(bytes, start, end);
    if (!assembler.complete) return;
    this.methods.delete(channel);
    this.message(channel, method, assembler.content());
    assembler.clear();
  }

  private message(channel: number, method: string, content: Buffer): void {
    const message = new AmqpMessage(new Address("", ""));
    try {
      message.reset(message.address, content);
      this.lines.push(`${channel} publish ${method} ${message.properties().toString("hex")} ${message.body().toString("hex")}`);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.failed(channel, error.message);
    }
  }

  /** As a channel that was closed, and opened again. */
  private failed(channel: number, why: string): void {
    this.lines.push(`${channel} failed: ${why}`);
    this.methods.delete(channel);
    this.assemblers.get(channel)?.clear();
  }
}

function transcript(bytes: Buffer, splits: readonly number[]): string[] {
  const sink = new Transcript();
  const reader = new FrameReader(sink, frameMax);
  let from = 0;
  for (const split of [...splits, bytes.length]) {
    reader.push(Buffer.from(bytes.subarray(from, split)));
    from = split;
  }
  return sink.lines;
}

const publishes = fc
  .record({
    channel: fc.integer({ min: 1, max: 3 }),
    key: fc.string({ maxLength: 20 }),
    bytes: fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 9000 })),
    frameBytes: fc.oneof(fc.constant(4088), fc.integer({ min: 1, max: 500 })),
    kind: fc.constantFrom("publish", "publish", "publish", "ack", "heartbeat", "interleaved", "crossed"),
  })
  .map(({ channel, key, bytes, frameBytes, kind }) => {
    const body = Buffer.from(Array.from({ length: bytes }, (_, i) => (i * 7) & 255));
    if (kind === "ack") return encodeMethod(channel, "basic.ack", { deliveryTag: bytes, multiple: false });
    if (kind === "heartbeat") return frame(8, 0, Buffer.alloc(0));
    if (kind === "publish") return publish(channel, "x", key, body, frameBytes);
    const other = (channel % 3) + 1;
    if (kind === "crossed") {
      const begin = (on: number) => [publishMethod(on, "x", key), contentHeader(on, 2)];
      return Buffer.concat([...begin(other), ...begin(channel), ...[other, channel].map((on) => frame(3, on, Buffer.from([on, on])))]);
    }
    return Buffer.concat([
      publishMethod(channel, "x", key),
      publish(other, "y", key, body, frameBytes),
      contentHeader(channel, 3),
      frame(3, channel, Buffer.from("a")),
      frame(8, 0, Buffer.alloc(0)),
      frame(3, channel, Buffer.alloc(0)),
      frame(3, channel, Buffer.from("bc")),
    ]);
  });
const stream = fc.array(publishes, { minLength: 1, maxLength: 12 }).map((parts) => Buffer.concat(parts));

const cuts = (bytes: Buffer, fractions: readonly number[]): number[] =>
  fractions.map((fraction) => Math.floor(fraction * bytes.length)).sort((a, b) => a - b);

test("well-formed streams, split anywhere", () => {
  fc.assert(
    fc.property(stream, fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 }), (bytes, fractions) => {
      const whole = transcript(bytes, []);
      expect(whole.join("\n")).not.toContain("failed");
      expect(transcript(bytes, cuts(bytes, fractions))).toEqual(whole);
    }),
    { numRuns: 300 },
  );
});

test("one byte at a time", () => {
  fc.assert(
    fc.property(stream, (bytes) => {
      expect(
        transcript(
          bytes,
          Array.from({ length: bytes.length }, (_, at) => at),
        ),
      ).toEqual(transcript(bytes, []));
    }),
    { numRuns: 40 },
  );
});

test("mutated streams end in a clean error or in other messages, and in the same ones however they are split", () => {
  const mutation = fc.tuple(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), fc.integer({ min: 0, max: 255 }));
  const fractions = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 8 });
  fc.assert(
    fc.property(stream, fc.array(mutation, { minLength: 1, maxLength: 6 }), fractions, (bytes, mutations, splits) => {
      for (const [where, octet] of mutations) bytes[Math.floor(where * bytes.length)] = octet;
      expect(transcript(bytes, cuts(bytes, splits))).toEqual(transcript(bytes, []));
    }),
    { numRuns: 1500 },
  );
});

test("publishes that come whole are not taken apart", () => {
  const sink = new Transcript();
  new FrameReader(sink, frameMax).push(Buffer.concat(Array.from({ length: 10 }, () => publish(1, "x", "k", Buffer.alloc(10_000), 4088))));
  expect(sink.wholes).toBe(10);
});

test("a paused reader keeps the rest for later, in order", () => {
  const sink = new Transcript();
  const reader = new FrameReader(sink, frameMax);
  const one = publish(1, "x", "k", Buffer.from("1"));
  reader.paused = true;
  for (let i = 0; i < 3; i++) reader.push(one.subarray(0, 30));
  expect(sink.lines).toEqual([]);
  const expected = transcript(Buffer.concat([one.subarray(0, 30), one.subarray(0, 30), one.subarray(0, 30)]), []);
  reader.resume();
  expect(sink.lines).toEqual(expected);
});
