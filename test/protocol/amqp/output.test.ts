import { expect, test } from "vitest";
import { BufferPool, outputBufferBytes } from "../../../src/protocol/amqp/bufferPool.ts";
import { Output } from "../../../src/protocol/amqp/output.ts";

/** A socket whose other side reads nothing: it keeps what it is given. */
function deafSocket() {
  const socket = {
    writableLength: 0,
    kept: [] as Buffer[],
    write: (bytes: Buffer) => {
      socket.kept.push(bytes);
      socket.writableLength += bytes.length;
      return false;
    },
  };
  return socket;
}

const keptMemory = (kept: readonly Buffer[]): number =>
  [...new Set(kept.map(({ buffer }) => buffer))].reduce((bytes, { byteLength }) => bytes + byteLength, 0);

test("a client that does not read its confirms costs about as much memory as it is said to: one confirm a turn is not a whole buffer", () => {
  const socket = deafSocket();
  const output = new Output(socket, new BufferPool(), 1 << 20, () => undefined);
  const turns = 1000;
  for (let turn = 0; turn < turns; turn++) {
    output.send(Buffer.alloc(21, turn & 255));
    output.flush();
  }
  expect(output.waitingBytes).toBe(21 * turns);
  // the buffer that was there when the kernel took no more, and slabs of small ones
  expect(keptMemory(socket.kept)).toBeLessThan(outputBufferBytes + 21 * turns * 4);
  socket.kept.forEach((bytes, turn) => {
    expect(bytes.equals(Buffer.alloc(21, turn & 255))).toBe(true);
  });
});
