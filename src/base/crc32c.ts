import { crc32c as native } from "@node-rs/crc32";

/** Below this many bytes JavaScript is faster than the call into the native library: 200 B in 200 ns against 360 ns. */
const nativeBytesMin = 400;
/** Summed without a pause, in 0.15 ms. */
const PIECE_BYTES = 512 * 1024;
const tables = makeTables();

/** CRC-32C (Castagnoli) as an unsigned 32-bit number. Node's own zlib.crc32 is another polynomial. */
export function crc32c(bytes: Uint8Array): number {
  return crc32cRange(bytes, 0, bytes.length);
}

/** Of `bytes[start, end)`, without making a view of it when it is short. */
export function crc32cRange(bytes: Uint8Array, start: number, end: number): number {
  return end - start < nativeBytesMin ? slicingBy8(0, bytes, start, end) : native(bytes.subarray(start, end) as Buffer);
}

/** The checksum of what `crc` is of, followed by a few bytes. */
export function crc32cGoingOn(crc: number, bytes: Uint8Array, start: number, end: number): number {
  return slicingBy8(crc, bytes, start, end);
}

/** The same with all of `bytes`, many or few: no view has to be made of them. */
export function crc32cFollowedBy(crc: number, bytes: Uint8Array): number {
  return bytes.length < nativeBytesMin ? slicingBy8(crc, bytes, 0, bytes.length) : native(bytes as Buffer, crc);
}

/** `crc32cRange` that lets its caller do something else after every 512 KiB: 16 MiB take 5 ms. */
export function* crc32cInPieces(bytes: Uint8Array, start: number, end: number): Generator<undefined, number> {
  let crc = 0;
  for (let at = start; ; at += PIECE_BYTES) {
    crc = crc32cFollowedBy(crc, bytes.subarray(at, Math.min(at + PIECE_BYTES, end)));
    if (at + PIECE_BYTES >= end) return crc;
    yield;
  }
}

/** Eight bytes a step through eight tables; `| 0` and signed numbers keep it in small integers. */
function slicingBy8(before: number, bytes: Uint8Array, start: number, end: number): number {
  const table = tables;
  const b = bytes;
  let crc = ~before;
  let at = start;
  for (; at + 8 <= end; at += 8) {
    const low = crc ^ (b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24));
    crc =
      table[1792 + (low & 255)]! ^
      table[1536 + ((low >>> 8) & 255)]! ^
      table[1280 + ((low >>> 16) & 255)]! ^
      table[1024 + (low >>> 24)]! ^
      table[768 + b[at + 4]!]! ^
      table[512 + b[at + 5]!]! ^
      table[256 + b[at + 6]!]! ^
      table[b[at + 7]!]!;
  }
  for (; at < end; at++) crc = table[(crc ^ b[at]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

function makeTables(): Int32Array {
  const made = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    made[byte] = crc;
  }
  for (let at = 256; at < made.length; at++) {
    const before = made[at - 256] as number;
    made[at] = (made[before & 255] as number) ^ (before >>> 8);
  }
  return made;
}
