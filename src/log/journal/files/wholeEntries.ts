import { crc32c, crc32cGoingOn } from "../../../base/crc32c.ts";
import { crc32cJoined } from "../../../base/crc32cJoin.ts";
import { EntryKind, entryHeadBytes, isEntry } from "./format.ts";

/** Of each entry its own checksum does not cover: length and checksum. */
const uncoveredBytes = 8;

/**
 * Where those entries end that begin at `from`, lie before `to`, follow the chain and are whole; an `end` entry is the last. All are
 * checked at once: what the checksum of all of them must be follows from the stored ones, and one call of the native library for a MiB
 * instead of one for each entry of 1 KiB takes half the time, 300 ns less an entry. If it is another, the damaged one is looked for.
 */
export function wholeEntriesEnd(bytes: Buffer, from: number, to: number, chain: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let expected = 0;
  let end = from;
  for (let previous = chain; end + entryHeadBytes <= to; ) {
    const length = view.getUint32(end, true);
    if (length < entryHeadBytes || length > to - end || view.getUint32(end + 8, true) !== previous) break;
    previous = view.getUint32(end + 4, true);
    expected = crc32cJoined(crc32cGoingOn(expected, bytes, end, end + uncoveredBytes), previous, length - uncoveredBytes);
    const kind = bytes[end + 12];
    end += length;
    if (kind === EntryKind.end) break;
  }
  if (end === from || crc32c(bytes.subarray(from, end)) === expected) return end;
  let whole = from;
  for (let length = 0; whole < end; whole += length) {
    length = view.getUint32(whole, true);
    if (!isEntry(bytes, whole, whole + length)) break;
  }
  return whole;
}
