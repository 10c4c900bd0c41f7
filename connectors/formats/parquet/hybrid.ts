/**
 * Parquet's RLE/bit-packing hybrid, for definition levels and dictionary indexes: a sequence of runs,
 *   RLE run:        varint(count << 1), value in ceil(bitWidth / 8) bytes, little endian
 *   bit-packed run: varint(groups << 1 | 1), groups x 8 values, least significant bit first
 * Only the last run of a sequence may be padded to a multiple of 8.
 */
import type { ByteBuffer } from "./byteBuffer.ts";

/** A shorter run of equal values costs more as a run of its own than inside a bit-packed one. */
const repeatedMin = 24;

/** Bits that hold 0..largest; at least 1, since some readers stumble over indexes of zero bits. */
export function bitWidthOf(largest: number): number {
  return largest <= 1 ? 1 : 32 - Math.clz32(largest);
}

export function writeHybrid(out: ByteBuffer, values: ArrayLike<number>, start: number, end: number, bitWidth: number): void {
  let packedFrom = start;
  let at = start;
  while (at < end) {
    const value = values[at] as number;
    let next = at + 1;
    while (next < end && values[next] === value) next++;
    if (next - at < repeatedMin) {
      at += 8;
      continue;
    }
    if (at > packedFrom) writePacked(out, values, packedFrom, at, bitWidth);
    writeRepeated(out, value, next - at, bitWidth);
    at = next;
    packedFrom = next;
  }
  if (packedFrom < end) writePacked(out, values, packedFrom, end, bitWidth);
}

function writeRepeated(out: ByteBuffer, value: number, count: number, bitWidth: number): void {
  out.varint(count * 2);
  for (let shift = 0; shift < bitWidth; shift += 8) out.u8((value >>> shift) & 255);
}

function writePacked(out: ByteBuffer, values: ArrayLike<number>, start: number, end: number, bitWidth: number): void {
  const groups = (end - start + 7) >> 3;
  out.varint(groups * 2 + 1);
  out.reserve(groups * bitWidth);
  const bytes = out.bytes;
  const packedEnd = out.length + groups * bitWidth;
  let at = out.length;
  let bits = 0;
  let bitCount = 0;
  for (let i = start; i < end; i++) {
    bits |= (values[i] as number) << bitCount;
    bitCount += bitWidth;
    while (bitCount >= 8) {
      bytes[at++] = bits & 255;
      bits >>>= 8;
      bitCount -= 8;
    }
  }
  if (bitCount > 0) bytes[at++] = bits & 255;
  bytes.fill(0, at, packedEnd);
  out.length = packedEnd;
}
