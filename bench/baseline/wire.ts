/** The few methods that the baseline broker says, as whole frames. */
const FRAME_END = 0xce;

export const Frame = { method: 1, header: 2, body: 3 } as const;

export function shortString(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}

export function unsigned(value: number, bytes: 1 | 2 | 4 | 8): Buffer {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 8) buffer.writeBigUInt64BE(BigInt(value));
  else buffer.writeUIntBE(value, 0, bytes);
  return buffer;
}

/** class and method as in the specification, e.g. 10, 11 for connection.start-ok. */
export function methodFrame(channel: number, classId: number, methodId: number, ...args: Buffer[]): Buffer {
  const payload = Buffer.concat([unsigned(classId, 2), unsigned(methodId, 2), ...args]);
  return Buffer.concat([Buffer.of(Frame.method), unsigned(channel, 2), unsigned(payload.length, 4), payload, Buffer.of(FRAME_END)]);
}

/** The connection.start that both sides need: no server properties, PLAIN, en_US. */
export function startFrame(): Buffer {
  const longString = (text: string): Buffer => Buffer.concat([unsigned(text.length, 4), Buffer.from(text)]);
  // amqplib looks for capabilities in server-properties: an empty table will do
  return methodFrame(0, 10, 10, Buffer.of(0, 9), unsigned(0, 4), longString("PLAIN"), longString("en_US"));
}

const CONTENT_TYPE = 0x8000;
const CONTENT_ENCODING = 0x4000;
const HEADERS = 0x2000;
const DELIVERY_MODE = 0x1000;

/** Finds delivery-mode behind the properties that come before it. `at` is the header frame's first byte. */
export function isPersistent(bytes: Buffer, at: number): boolean {
  const flags = bytes.readUInt16BE(at + 19);
  if ((flags & DELIVERY_MODE) === 0) return false;
  let next = at + 21;
  if (flags & CONTENT_TYPE) next += 1 + bytes.readUInt8(next);
  if (flags & CONTENT_ENCODING) next += 1 + bytes.readUInt8(next);
  if (flags & HEADERS) next += 4 + bytes.readUInt32BE(next);
  return bytes.readUInt8(next) === 2;
}

/** Where a publish that starts at `at` ends, frames of header and body included; 0 if not all of it is there yet. */
export function publishEnd(bytes: Buffer, headerAt: number): number {
  if (bytes.length - headerAt < 22) return 0;
  let end = headerAt + bytes.readUInt32BE(headerAt + 3) + 8;
  if (end > bytes.length) return 0;
  for (let left = bytes.readUInt32BE(headerAt + 15); left > 0; ) {
    if (bytes.length - end < 8) return 0;
    const length = bytes.readUInt32BE(end + 3);
    if (bytes.length - end < length + 8) return 0;
    left -= length;
    end += length + 8;
  }
  return end;
}
