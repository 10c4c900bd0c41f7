/**
 * A segment: what still lived of one or several journal files when their space was needed. Written once, then never changed. Little endian.
 *
 *   file       <first>-<last>-<generation>.segment, the first two being sequences of journal files: header, entries, index, directory
 *   header     magic "MRSEGMNT" | format version u32 | items u32 | index begins at f64 | queues u32 | CRC-32C u32 of all before
 *   entry      a message as it stood in the journal (`previous` and all its destinations included), or of a kind of the segment's own
 *              (`SegmentEntryKind`), headed in the same way:
 *                a remembered id: queue u32 | offset f64 | timestamp f64 | id
 *                copies: n x item, again those whose message has another number of destinations than one: which of them live isn't in it
 *              An `end` entry is the last.
 *   index      blocks of 32 items (the last has what is left), each with its CRC-32C u32 behind it
 *   item       queue u32 | offset f64 | entry begins at u32 | content bytes u32. By queue, of a queue first the copies and then the ids,
 *              those by offset. Content bytes 2^32 - 1: a remembered id. The top bit of the others: the message is transient
 *   directory  transient items u32 | queues x (queue u32, its first item u32, copies u32, ids u32, first and last offset of the copies
 *              2 x f64, content bytes of the copies f64) | if there are transient items: a bit an item | CRC-32C u32
 *   dead       <same name>.dead: which items are gone. Magic "MRSEGDED" | format version u32 | items u32 | a bit an item | CRC-32C u32
 *
 * Version 1, which is read only: the header has the CRC of the whole index in place of the queues; no `end`, no copies, no CRCs in the
 * index, no directory; copies and ids of a queue together by offset; a remembered id is of another kind, without queue and offset.
 *
 * Invariants:
 * - A name is given only to what is whole and synced. So damage is never a torn write.
 * - Header, index and directory say nothing that the entries don't: from those they are made anew, item by item the same.
 * - A segment counts only when the journal files that it was made of are gone: a crash in between leaves those, and they say more.
 * - One with a higher generation replaces all whose sequences lie within its own.
 * - Before a journal file goes, the acknowledgements in it that are for segments are in their `dead` files.
 * - The `dead` file goes after its segment, so that nothing that is gone comes back.
 */
import { crc32cRange } from "../../../base/crc32c.ts";
import { MillraceError } from "../../../base/errors.ts";
import { corrupt, entryHeadBytes } from "../files/format.ts";

export const formatVersion = 2;
const magic = "MRSEGMNT";
const deadMagic = "MRSEGDED";
const deadFormatVersion = 1;
const deadHeadBytes = 16;
export const segmentHeaderBytes = 32;
export const itemBytes = 20;
export const blockItems = 32;
const blockCrcBytes = 4;
const idMark = 0xffff_ffff;
const transientBit = 0x8000_0000;
const fileName = /^(\d+)-(\d+)-(\d+)\.segment$/;

/** Beside a message and `end`. The first is version 1's remembered id. */
export const SegmentEntryKind = { dedupeId: 6, copies: 7, rememberedId: 8 } as const;

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

// ---- items

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

/** Where an item is in the index, or in a part of it that begins with a block. */
export const itemAt = (ordinal: number, version: number): number =>
  ordinal * itemBytes + (version === 1 ? 0 : Math.floor(ordinal / blockItems) * blockCrcBytes);

/** Of so many items. */
export const indexBytes = (items: number, version: number): number =>
  items * itemBytes + (version === 1 ? 0 : Math.ceil(items / blockItems) * blockCrcBytes);

/** The CRC of the block that begins at `begin`; it stands at its end. */
export const sealBlock = (index: Buffer, begin: number, items: number): number => {
  const end = begin + items * itemBytes;
  return index.writeUInt32LE(crc32cRange(index, begin, end), end);
};

/** Are all blocks of this part of the index as they were written? */
export function areBlocksWhole(part: Buffer): boolean {
  for (let begin = 0; begin < part.length; begin += blockItems * itemBytes + blockCrcBytes) {
    const end = Math.min(begin + blockItems * itemBytes, part.length - blockCrcBytes);
    if (end < begin || crc32cRange(part, begin, end) !== part.readUInt32LE(end)) return false;
  }
  return true;
}

// ---- header

export interface SegmentHeader {
  readonly version: number;
  readonly items: number;
  readonly indexAt: number;
  /** Version 2: entries of the directory. Version 1: the CRC of the index. */
  readonly queuesOrCrc: number;
}

export function encodeSegmentHeader({ items, indexAt, queuesOrCrc }: SegmentHeader): Buffer {
  const header = Buffer.alloc(segmentHeaderBytes);
  header.write(magic, 0, "latin1");
  header.writeUInt32LE(formatVersion, 8);
  header.writeUInt32LE(items, 12);
  header.writeDoubleLE(indexAt, 16);
  header.writeUInt32LE(queuesOrCrc, 24);
  header.writeUInt32LE(crc32cRange(header, 0, 28), 28);
  return header;
}

export function decodeSegmentHeader(header: Buffer, where: string): SegmentHeader {
  if (header.length < segmentHeaderBytes || header.toString("latin1", 0, 8) !== magic)
    throw corrupt(`${where} at byte 0`, "the file does not begin as a segment");
  const version = header.readUInt32LE(8);
  const crc = header.readUInt32LE(28);
  if (version > formatVersion && !isOursBut(header, crc)) throw tooNew(version, formatVersion, where);
  if (crc !== crc32cRange(header, 0, 28)) throw corrupt(`${where} at byte 0`, "the header has a wrong checksum");
  return { version, items: header.readUInt32LE(12), indexAt: header.readDoubleLE(16), queuesOrCrc: header.readUInt32LE(24) };
}

/** Is only the version damaged? */
function isOursBut(header: Buffer, crc: number): boolean {
  const ours = Buffer.from(header);
  ours.writeUInt32LE(formatVersion, 8);
  return crc32cRange(ours, 0, 28) === crc;
}

// ---- remembered ids

/** Behind the entry's head. */
export const idHeadBytes = { v1: 8, v2: 20 } as const;

export function decodeId(bytes: Buffer, at: number): { readonly timestamp: number; readonly dedupeId: string } {
  const isFirst = bytes[at + 12] === SegmentEntryKind.dedupeId;
  const begin = at + entryHeadBytes + (isFirst ? idHeadBytes.v1 : idHeadBytes.v2);
  return { timestamp: bytes.readDoubleLE(begin - 8), dedupeId: bytes.toString("utf8", begin, at + bytes.readUInt32LE(at)) };
}

// ---- what is gone

export function encodeDead(items: number, alive: Uint8Array): Buffer {
  const bytes = Buffer.alloc(deadHeadBytes + alive.length + 4);
  bytes.write(deadMagic, 0, "latin1");
  bytes.writeUInt32LE(deadFormatVersion, 8);
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
  const version = bytes.readUInt32LE(8);
  if (version > deadFormatVersion) throw tooNew(version, deadFormatVersion, where);
  if (bytes.readUInt32LE(12) !== items) throw corrupt(`${where} at byte 12`, "the file is for another segment");
  return bytes.subarray(deadHeadBytes, end);
}

function tooNew(version: number, ours: number, where: string): MillraceError {
  return new MillraceError("JOURNAL_TOO_NEW", `The segment has format version ${version}; this version of millrace reads up to ${ours}.`, {
    domain: "user",
    where,
    hint: "Start the newer version of millrace that wrote it.",
  });
}
