import { expect, test } from "vitest";
import { FrameReader } from "../../../src/protocol/amqp/codec/frameReader.ts";
import { Hold, InputGate } from "../../../src/protocol/amqp/inputGate.ts";
import { frame } from "./raw.ts";

function gate(turnBytesMax: number) {
  const taken: number[] = [];
  const reader = new FrameReader(
    {
      frame: (_type, channel) => void taken.push(channel),
      publish: () => undefined,
      malformed: () => undefined,
    },
    4096,
  );
  const socket = { paused: 0, resumed: 0, pause: () => void socket.paused++, resume: () => void socket.resumed++ };
  return { taken, socket, gate: new InputGate(socket, reader, turnBytesMax) };
}

const heartbeat = (channel: number): Buffer => frame(8, channel, Buffer.alloc(92)); // 100 bytes

test("a connection that had its share waits for the next turn, with two chunks at most", () => {
  const { taken, socket, gate: input } = gate(250);
  for (const channel of [1, 2, 3]) input.push(heartbeat(channel));
  expect(taken).toEqual([1, 2, 3]);
  expect(socket.paused).toBe(0);
  input.push(heartbeat(4)); // was on its way already
  expect([taken.length, socket.paused]).toEqual([3, 1]);
  input.newTurn();
  expect([taken.length, socket.resumed]).toEqual([4, 1]);
});

test("it goes on when the last reason to wait is gone", () => {
  const { taken, socket, gate: input } = gate(1000);
  input.hold(Hold.operation);
  input.hold(Hold.output);
  input.push(heartbeat(1));
  input.release(Hold.operation);
  expect([taken.length, input.held]).toEqual([0, true]);
  expect(input.release(Hold.output)).toBe(true);
  expect([taken.length, socket.resumed, input.held]).toEqual([1, 1, false]);
  expect(input.release(Hold.output)).toBe(false);
});
