/**
 * Zigzag varints as record batch v2 has them: 7 bits a byte, lowest first, the sign in the lowest bit.
 * A varint holds an int32 (at most 5 bytes); a varlong is 64 bits in the format, here a safe integer (else refused).
 */
import { MillraceError } from "../base/errors.ts";

export const VARINT_BYTES_MAX = 5;
export const VARLONG_BYTES_MAX = 10;

export function sizeOfVarint(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
  if (zigzag < 0x80) return 1;
  if (zigzag < 0x4000) return 2;
  if (zigzag < 0x200000) return 3;
  return zigzag < 0x10000000 ? 4 : 5;
}

/** Returns the position after what was written. */
export function writeVarint(into: Uint8Array, at: number, value: number): number {
  let zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
  while (zigzag >= 0x80) {
    into[at++] = (zigzag & 0x7f) | 0x80;
    zigzag >>>= 7;
  }
  into[at++] = zigzag;
  return at;
}

const fitsVarint = (value: number): boolean => value === (value | 0);

export function sizeOfVarlong(value: number): number {
  if (fitsVarint(value)) return sizeOfVarint(value);
  let size = 1;
  for (let rest = Math.floor(magnitudeOf(value) / 64); rest > 0; rest = Math.floor(rest / 128)) size++;
  return size;
}

export function writeVarlong(into: Uint8Array, at: number, value: number): number {
  if (fitsVarint(value)) return writeVarint(into, at, value);
  const magnitude = magnitudeOf(value);
  // the doubled value would need 54 bits, so the sign bit is placed by hand
  let low = ((magnitude % 64) << 1) | (value < 0 ? 1 : 0);
  let rest = Math.floor(magnitude / 64);
  while (rest > 0) {
    into[at++] = low | 0x80;
    low = rest % 128;
    rest = Math.floor(rest / 128);
  }
  into[at++] = low;
  return at;
}

/** Without the sign: -1 is 0, -2 is 1. */
const magnitudeOf = (value: number): number => (value >= 0 ? value : -(value + 1));

/** Reads varints from bytes that nobody vouches for: never past `end`, and throws only RECORD_CORRUPT. */
export class VarintReader {
  at = 0;
  end = 0;

  constructor(readonly bytes: Uint8Array) {}

  varint(): number {
    const { bytes, end } = this;
    let at = this.at;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      if (at >= end) throw corrupt("the bytes end within a number", at);
      const byte = bytes[at++] as number;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.at = at;
        return (value >>> 1) ^ -(value & 1);
      }
    }
    throw corrupt("a number is longer than 32 bits", at);
  }

  varlong(): number {
    const { bytes, end } = this;
    let at = this.at;
    if (at >= end) throw corrupt("the bytes end within a number", at);
    let byte = bytes[at++] as number;
    const negative = (byte & 1) === 1;
    let magnitude = (byte & 0x7f) >>> 1;
    for (let scale = 64; byte >= 0x80; scale *= 128) {
      if (at >= end) throw corrupt("the bytes end within a number", at);
      byte = bytes[at++] as number;
      magnitude += (byte & 0x7f) * scale;
      if (magnitude > Number.MAX_SAFE_INTEGER || scale > Number.MAX_SAFE_INTEGER) throw corrupt("a number is above 2^53", at);
    }
    this.at = at;
    return negative ? -magnitude - 1 : magnitude;
  }
}

export function corrupt(why: string, position: number): MillraceError {
  return new MillraceError("RECORD_CORRUPT", `A record batch cannot be read: ${why}.`, {
    domain: "external",
    where: `byte ${position}`,
  });
}
