const encoder = new TextEncoder();

/** Bytes that grow at the end; `bytes` and `length` are open to the encoders' inner loops, which call `reserve` first. */
export class ByteBuffer {
  bytes: Buffer;
  length = 0;

  constructor(capacity = 256) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
  }

  /** Room for `count` more bytes. */
  reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, needed));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  u32(value: number): void {
    this.reserve(4);
    this.bytes.writeInt32LE(value | 0, this.length);
    this.length += 4;
  }

  /** Unsigned LEB128 of a safe integer; no BigInt. */
  varint(value: number): void {
    this.reserve(8);
    let rest = value;
    while (rest > 0x7fffffff) {
      this.bytes[this.length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    while (rest > 127) {
      this.bytes[this.length++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    this.bytes[this.length++] = rest;
  }

  append(from: Uint8Array): void {
    this.reserve(from.length);
    this.bytes.set(from, this.length);
    this.length += from.length;
  }

  /** Length (4 bytes, little endian) and UTF-8; lone surrogates become U+FFFD. */
  lengthAndText(text: string): void {
    const units = text.length;
    this.reserve(4 + units * 3);
    const bytes = this.bytes;
    const start = this.length + 4;
    let at = start;
    // ASCII by hand is about twice as fast as encodeInto for the short strings that columns hold
    let unit = 0;
    for (; unit < units; unit++) {
      const code = text.charCodeAt(unit);
      if (code > 127) break;
      bytes[at++] = code;
    }
    if (unit < units) at = start + encoder.encodeInto(text, bytes.subarray(start)).written;
    bytes.writeInt32LE(at - start, this.length);
    this.length = at;
  }

  lengthAndBytes(value: Uint8Array): void {
    this.u32(value.length);
    this.append(value);
  }

  /** What was written so far; valid until the next write. */
  view(): Buffer {
    return this.bytes.subarray(0, this.length);
  }
}
