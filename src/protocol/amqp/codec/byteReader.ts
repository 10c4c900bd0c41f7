import { isUtf8 } from "node:buffer";
import { uint64 } from "./bytes.ts";
import { ProtocolError } from "./protocolError.ts";

/** Reads a method's arguments; never past `end`: that is a SYNTAX_ERROR. */
export class ByteReader {
  constructor(
    private readonly bytes: Buffer,
    public at: number,
    readonly end: number,
  ) {}

  /** The position of the next `count` bytes, which are then read. */
  private take(count: number): number {
    const from = this.at;
    if (count > this.end - from) throw new ProtocolError("SYNTAX_ERROR", `${count} bytes expected, ${this.end - from} left in the frame`);
    this.at = from + count;
    return from;
  }

  /** Nothing is left over. */
  endsHere(): void {
    if (this.at !== this.end) throw new ProtocolError("SYNTAX_ERROR", `${this.end - this.at} bytes too many`);
  }

  octet(): number {
    return this.bytes.readUInt8(this.take(1));
  }

  short(): number {
    return this.bytes.readUInt16BE(this.take(2));
  }

  long(): number {
    return this.bytes.readUInt32BE(this.take(4));
  }

  /** As a number: exact up to 2^53. */
  longLong(): number {
    return uint64(this.bytes, this.take(8));
  }

  signedOctet(): number {
    return this.bytes.readInt8(this.take(1));
  }

  signedShort(): number {
    return this.bytes.readInt16BE(this.take(2));
  }

  signedLong(): number {
    return this.bytes.readInt32BE(this.take(4));
  }

  signedLongLong(): bigint {
    return this.bytes.readBigInt64BE(this.take(8));
  }

  float(): number {
    return this.bytes.readFloatBE(this.take(4));
  }

  double(): number {
    return this.bytes.readDoubleBE(this.take(8));
  }

  shortString(): string {
    const length = this.octet();
    const from = this.take(length);
    if (!isUtf8(this.bytes.subarray(from, from + length))) throw new ProtocolError("SYNTAX_ERROR", "a short string is not UTF-8");
    return this.bytes.toString("utf8", from, from + length);
  }

  /** What is not UTF-8 is replaced: names inside a table are the business of the clients. */
  looseShortString(): string {
    const length = this.octet();
    const from = this.take(length);
    return this.bytes.toString("utf8", from, from + length);
  }

  /** A copy. */
  longString(): Buffer {
    const length = this.long();
    const from = this.take(length);
    return Buffer.from(this.bytes.subarray(from, from + length));
  }
}
