/**
 * A segment: what still lived of one or several journal files when their space was needed. Written once, then never changed. Little endian.
 *
 *   file    <first>-<last>-<generation>.segment, the first two being sequences of journal files: header, entries, index
 *   header  magic "MRSEGMNT" | format version u32 | items u32 | index begins at f64 | CRC-32C u32 of the index |
 *           CRC-32C u32 of all before
 *   entry   a message as it stood in the journal (`previous` and all its destinations included), or a dedupe id, headed in the
 *           same way: timestamp f64 | id
 *   index   items x (queue u32, offset f64, entry begins at u32, content bytes u32), by queue and then by offset.
 *           Content bytes 2^32 - 1: the item is a remembered id. The top bit of the others: the message is transient
 *   dead    <same name>.dead: which items are gone. Magic "MRSEGDED" | format version u32 | items u32 | a bit an item | CRC-32C u32
 *
 * Invariants:
 * - A name is given only to what is whole and synced. So damage is never a torn write.
 * - A segment counts only when the journal files that it was made of are gone: a crash in between leaves those, and they say more.
 * - One with a higher generation replaces all whose sequences lie within its own.
 * - Before a journal file goes, the acknowledgements in it that are for segments are in their `dead` files.
 * - The `dead` file goes after its segment, so that nothing that is gone comes back.
 */
import { crc32cRange } from "../../base/crc32c.ts";
import { MillraceError } from "../../base/errors.ts";
import { corrupt } from "./format.ts";

const formatVersion = 1;
const magic = "MRSEGMNT";
const deadMagic = "MRSEGDED";
const deadHeadBytes = 16;
export const segmentHeaderBytes = 32;
export const itemBytes = 20;
const idMark = 0xffff_ffff;
const transientBit = 0x8000_0000;
const fileName = /^(\d+)-(\d+)-(\d+)\.segment$/;

export interface SegmentName {
  readonly first: number;
  readonly last: number;
  readonly generation: number;
}

export function segmentFileName({ first, last, generation }: SegmentName): string {
  return `${padded(first)}-${padded(last)}-${generation}.segment`;
}

export function parseSegmentFileName(name: string): SegmentName | undefined {
  const match = fileName.exec(name);
  return match === null ? undefined : { first: Number(match[1]), last: Number(match[2]), generation: Number(match[3]) };
}

const padded = (sequence: number): string => String(sequence).padStart(12, "0");

/** One copy of a message, or one remembered id. */
export interface SegmentItem {
  readonly queue: number;
  readonly offset: number;
  /** Where its entry begins. */
  readonly at: number;
  /** Of the content; of an id 0. */
  readonly bytes: number;
  readonly isId: boolean;
  readonly transient: boolean;
}

export function encodeItem(into: Buffer, to: number, item: SegmentItem): void {
  into.writeUInt32LE(item.queue, to);
  into.writeDoubleLE(item.offset, to + 4);
  into.writeUInt32LE(item.at, to + 12);
  into.writeUInt32LE(item.isId ? idMark : item.bytes + (item.transient ? transientBit : 0), to + 16);
}

export function decodeItem(from: Buffer, at: number): SegmentItem {
  const size = from.readUInt32LE(at + 16);
  const isId = size === idMark;
  return {
    queue: from.readUInt32LE(at),
    offset: from.readDoubleLE(at + 4),
    at: from.readUInt32LE(at + 12),
    bytes: isId ? 0 : size % transientBit,
    isId,
    transient: !isId && size >= transientBit,
  };
}

export interface SegmentHeader {
  readonly items: number;
  readonly indexAt: number;
  readonly indexCrc: number;
}

export function encodeSegmentHeader({ items, indexAt, indexCrc }: SegmentHeader): Buffer {
  const header = Buffer.alloc(segmentHeaderBytes);
  header.write(magic, 0, "latin1");
  header.writeUInt32LE(formatVersion, 8);
  header.writeUInt32LE(items, 12);
  header.writeDoubleLE(indexAt, 16);
  header.writeUInt32LE(indexCrc, 24);
  header.writeUInt32LE(crc32cRange(header, 0, 28), 28);
  return header;
}

export function decodeSegmentHeader(header: Buffer, where: string): SegmentHeader {
  if (header.length < segmentHeaderBytes || header.toString("latin1", 0, 8) !== magic)
    throw corrupt(`${where} at byte 0`, "the file does not begin as a segment");
  refuseNewer(header.readUInt32LE(8), where);
  if (header.readUInt32LE(28) !== crc32cRange(header, 0, 28)) throw corrupt(`${where} at byte 0`, "the header has a wrong checksum");
  return { items: header.readUInt32LE(12), indexAt: header.readDoubleLE(16), indexCrc: header.readUInt32LE(24) };
}

export function encodeDead(items: number, alive: Uint8Array): Buffer {
  const bytes = Buffer.alloc(deadHeadBytes + alive.length + 4);
  bytes.write(deadMagic, 0, "latin1");
  bytes.writeUInt32LE(formatVersion, 8);
  bytes.writeUInt32LE(items, 12);
  for (let n = 0; n < alive.length; n++) bytes[deadHeadBytes + n] = ~(alive[n] as number);
  bytes.writeUInt32LE(crc32cRange(bytes, 0, bytes.length - 4), bytes.length - 4);
  return bytes;
}

/** @returns a bit an item, set if it is gone */
export function decodeDead(bytes: Buffer, items: number, where: string): Buffer {
  const end = bytes.length - 4;
  if (
    bytes.length < deadHeadBytes + 4 ||
    bytes.toString("latin1", 0, 8) !== deadMagic ||
    bytes.readUInt32LE(end) !== crc32cRange(bytes, 0, end)
  )
    throw corrupt(`${where} at byte 0`, "the file has a wrong checksum");
  refuseNewer(bytes.readUInt32LE(8), where);
  if (bytes.readUInt32LE(12) !== items) throw corrupt(`${where} at byte 12`, "the file is for another segment");
  return bytes.subarray(deadHeadBytes, end);
}

function refuseNewer(version: number, where: string): void {
  if (version <= formatVersion) return;
  throw new MillraceError(
    "JOURNAL_TOO_NEW",
    `The segment has format version ${version}; this version of millrace reads up to ${formatVersion}.`,
    {
      domain: "user",
      where,
      hint: "Start the newer version of millrace that wrote it.",
    },
  );
}
