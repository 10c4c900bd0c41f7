/**
 * Is a table well-formed? Says what `readTable` would, but makes no object: published headers go to consumers as they came,
 * and a client of other people must not choke on what we took.
 */
import { nestingMax } from "./fieldTable.ts";

/** Bytes of a value by its letter; -1 unknown, -2 behind its length, -3 nested. */
const sizes = new Int8Array(256).fill(-1);
const behindLength = -2;
const nested = -3;
for (const [letters, size] of [
  ["V", 0],
  ["tbB", 1],
  ["sUu", 2],
  ["Iif", 4],
  ["D", 5],
  ["lLdT", 8],
  ["Sx", behindLength],
  ["AF", nested],
] as const) {
  for (const letter of letters) sizes[letter.charCodeAt(0)] = size;
}
const tableLetter = "F".charCodeAt(0);

/** Where the table that begins at `at` ends; -1 if it is malformed or passes `end`. */
export function scanTable(bytes: Buffer, at: number, end: number): number {
  return scanFields(bytes, at, end, true, 0);
}

function scanFields(bytes: Buffer, at: number, end: number, named: boolean, depth: number): number {
  if (end - at < 4 || depth > nestingMax) return -1;
  const length = bytes.readUInt32BE(at);
  let position = at + 4;
  const last = position + length;
  if (last > end) return -1;
  while (position < last) {
    if (named) position += 1 + (bytes[position] as number);
    if (position >= last) return -1;
    const letter = bytes[position++] as number;
    const size = sizes[letter] as number;
    if (size >= 0) {
      position += size;
    } else if (size === behindLength) {
      if (last - position < 4) return -1;
      position += 4 + bytes.readUInt32BE(position);
    } else if (size === nested) {
      position = scanFields(bytes, position, last, letter === tableLetter, depth + 1);
      if (position === -1) return -1;
    } else {
      return -1;
    }
  }
  return position === last ? last : -1;
}
