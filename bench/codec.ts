/** Chunks of a socket cut into publishes, and each publish's content looked at. The limit: hopping from frame to frame. */

import { AmqpMessage } from "../src/protocol/amqp/codec/amqpMessage.ts";
import { FrameReader, type FrameSink } from "../src/protocol/amqp/codec/frameReader.ts";
import { Address } from "../src/record/address.ts";
import { publishFrames } from "./frames.ts";
import { type BenchPart, measure, type Printer } from "./measure.ts";

const PUBLISHES = 200_000;
const BODY_BYTES = 130;
const CHUNK_BYTES = 65_536;
const FRAME_MAX = 131_072;

function chunks(): Buffer[] {
  const stream = Buffer.concat(
    Array.from({ length: PUBLISHES }, (_, id) => publishFrames(1, "flights", "SFO.JFK", String(id), BODY_BYTES)),
  );
  const cut: Buffer[] = [];
  for (let at = 0; at < stream.length; at += CHUNK_BYTES) cut.push(stream.subarray(at, at + CHUNK_BYTES));
  return cut;
}

function cutAndLook(stream: readonly Buffer[]): void {
  const address = new Address("flights", "SFO.JFK");
  const message = new AmqpMessage(address);
  let publishes = 0;
  const sink: FrameSink = {
    // one that does not lie whole in its chunk comes frame by frame
    frame: (type) => {
      if (type === 1) publishes++;
    },
    publish(_channel, bytes, _methodStart, contentStart, contentEnd) {
      message.reset(address, bytes.subarray(contentStart, contentEnd));
      if (message.persistent) publishes++;
    },
    malformed(error) {
      throw error;
    },
  };
  const reader = new FrameReader(sink, FRAME_MAX);
  for (const chunk of stream) reader.push(chunk);
  if (publishes !== PUBLISHES) throw new Error(`${publishes} publishes instead of ${PUBLISHES}`);
}

function hop(stream: Buffer): void {
  let methods = 0;
  for (let at = 0; at < stream.length; at += stream.readUInt32BE(at + 3) + 8) if (stream[at] === 1) methods++;
  if (methods !== PUBLISHES) throw new Error(`${methods} methods instead of ${PUBLISHES}`);
}

export const codec: BenchPart = {
  name: "codec",
  async run(print: Printer) {
    const stream = chunks();
    const whole = Buffer.concat(stream);
    const limit = await measure(PUBLISHES, () => hop(whole));
    print.line("codec: publishes cut and looked at", await measure(PUBLISHES, () => cutAndLook(stream)), {
      name: "hopping over the frames",
      measured: limit,
    });
  },
};
