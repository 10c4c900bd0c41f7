import { MillraceError } from "../../../base/errors.ts";

/** A buffer that grows, for the methods that are rare; the hot ones write into the connection's output themselves. */
export class ByteWriter {
  private bytes = Buffer.allocUnsafe(256);
  length = 0;

  private reserve(count: number): number {
    const at = this.length;
    this.length = at + count;
    if (this.length > this.bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.length, this.bytes.length * 2));
      this.bytes.copy(grown, 0, 0, at);
      this.bytes = grown;
    }
    return at;
  }

  octet(value: number): void {
    const at = this.reserve(1);
    this.bytes.writeUInt8(value, at);
  }

  short(value: number): void {
    const at = this.reserve(2);
    this.bytes.writeUInt16BE(value, at);
  }

  long(value: number): void {
    const at = this.reserve(4);
    this.bytes.writeUInt32BE(value, at);
  }

  longLong(value: number): void {
    this.long(Math.floor(value / 4294967296));
    this.long(value >>> 0);
  }

  signedLong(value: number): void {
    const at = this.reserve(4);
    this.bytes.writeInt32BE(value, at);
  }

  signedLongLong(value: bigint): void {
    const at = this.reserve(8);
    this.bytes.writeBigInt64BE(value, at);
  }

  double(value: number): void {
    const at = this.reserve(8);
    this.bytes.writeDoubleBE(value, at);
  }

  shortString(value: string): void {
    const length = Buffer.byteLength(value);
    if (length > 255) throw new MillraceError("AMQP_STRING_TOO_LONG", `a short string of ${length} bytes`, { domain: "user" });
    this.octet(length);
    const at = this.reserve(length);
    this.bytes.write(value, at, length, "utf8");
  }

  longString(value: Uint8Array): void {
    this.long(value.length);
    this.raw(value);
  }

  raw(value: Uint8Array): void {
    const at = this.reserve(value.length);
    this.bytes.set(value, at);
  }

  /** Writes what `content` writes, behind its length as a long. */
  withLength(content: () => void): void {
    const at = this.reserve(4);
    content();
    this.bytes.writeUInt32BE(this.length - at - 4, at);
  }

  /** A view of what was written so far. */
  written(): Buffer {
    return this.bytes.subarray(0, this.length);
  }
}
