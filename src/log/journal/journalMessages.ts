import { crc32cRange } from "../../base/crc32c.ts";
import { destinationBytes, EntryFlag, EntryKind, entryHeadBytes, fileHeaderBytes, isEntry, messageHeadBytes } from "./format.ts";

/** A message entry, in a buffer that holds it whole. */
export interface MessageEntry {
  readonly at: number;
  readonly transient: boolean;
  readonly contentBytes: number;
  readonly timestamp: number;
  readonly dedupeId: string | undefined;
  readonly destinations: number;
}

/**
 * The messages of a finished file that is in memory, in order. Over a damaged entry it goes on with the next that is whole and follows it:
 * the entry behind repeats a checksum, so that one is known for sure.
 */
export function* messagesOf(file: Buffer, headerCrc: number, damagedAt: (at: number) => void): Generator<MessageEntry> {
  let chain = headerCrc;
  for (let here = fileHeaderBytes; ; ) {
    const length = lengthAt(file, here);
    if (length === 0 || file.readUInt32LE(here + 8) !== chain || !isEntry(file, here, here + length)) {
      damagedAt(here);
      const next = nextWhole(file, here);
      if (next === undefined) return;
      here = next;
      chain = file.readUInt32LE(next + 8);
      continue;
    }
    const kind = file[here + 12];
    if (kind === EntryKind.end) return;
    if (kind === EntryKind.message) yield messageAt(file, here, length);
    chain = file.readUInt32LE(here + 4);
    here += length;
  }
}

export function destinationOf(file: Buffer, message: MessageEntry, n: number): { queue: number; offset: number } {
  const at = message.at + messageHeadBytes + n * destinationBytes;
  return { queue: file.readUInt32LE(at), offset: file.readDoubleLE(at + 4) };
}

export function messageAt(file: Buffer, at: number, length: number): MessageEntry {
  const flags = file[at + 13] as number;
  const destinations = file.readUInt32LE(at + 24);
  const dedupe = at + messageHeadBytes + destinations * destinationBytes + file.readUInt16LE(at + 28);
  const content = dedupe + file.readUInt16LE(at + 30);
  return {
    at,
    transient: (flags & EntryFlag.persistent) === 0,
    contentBytes: at + length - content,
    timestamp: file.readDoubleLE(at + 16),
    dedupeId: (flags & EntryFlag.dedupe) === 0 ? undefined : file.toString("utf8", dedupe, content),
    destinations,
  };
}

/** 0: it can't be an entry's. */
function lengthAt(file: Buffer, at: number): number {
  if (at + entryHeadBytes > file.length) return 0;
  const length = file.readUInt32LE(at);
  return length < entryHeadBytes || length > file.length - at ? 0 : length;
}

/** Where the entry behind a damaged one begins. */
function nextWhole(file: Buffer, damaged: number): number | undefined {
  if (damaged + entryHeadBytes > file.length) return undefined;
  const length = lengthAt(file, damaged);
  const behind = damaged + length;
  if (length > 0 && lengthAt(file, behind) > 0 && isEntry(file, behind, file.length)) {
    // only the stored checksum is damaged, or what it is of
    const previous = file.readUInt32LE(behind + 8);
    if (previous === file.readUInt32LE(damaged + 4) || previous === crc32cRange(file, damaged + 8, behind)) return behind;
  }
  const checksum = file.subarray(damaged + 4, damaged + 8);
  for (let found = file.indexOf(checksum, damaged + entryHeadBytes); found !== -1; found = file.indexOf(checksum, found + 1)) {
    if (lengthAt(file, found - 8) > 0 && isEntry(file, found - 8, file.length)) return found - 8;
  }
  return undefined;
}
