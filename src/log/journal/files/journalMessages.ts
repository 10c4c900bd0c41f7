import { crc32cRange } from "../../../base/crc32c.ts";
import {
  commitEntryBytes,
  destinationBytes,
  EntryFlag,
  EntryKind,
  entryHeadBytes,
  fileHeaderBytes,
  isEntry,
  journalIdBytes,
  messageHeadBytes,
} from "./format.ts";

/** A message entry, in a buffer that holds it whole. */
export interface MessageEntry {
  readonly at: number;
  readonly transient: boolean;
  readonly contentBytes: number;
  readonly timestamp: number;
  readonly dedupeId: string | undefined;
  readonly destinations: number;
}

/** What must be known of a file to tell its own entries from what only looks like them. */
export interface FileIdentity {
  readonly sequence: number;
  readonly headerCrc: number;
  /** What the commits of this journal have in common, once it is known. */
  readonly journalId: Buffer | undefined;
}

/** The messages of a finished file that is in memory up to where it counts, in order, over damaged entries as `entryAfter` goes. */
export function* messagesOf(file: Buffer, identity: FileIdentity, damagedAt: (at: number) => void): Generator<MessageEntry> {
  let chain = identity.headerCrc;
  // one that was cut has no end
  for (let here = fileHeaderBytes; here < file.length; ) {
    const length = lengthAt(file, here);
    if (length === 0 || file.readUInt32LE(here + 8) !== chain || !isEntry(file, here, here + length)) {
      damagedAt(here);
      const next = entryAfter(file, here, identity);
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

/**
 * Where the first whole entry behind a damaged one begins: the one that follows it repeats a checksum, so that one is known for sure;
 * where more than one is damaged it is the next commit of this journal in this file.
 */
export function entryAfter(file: Buffer, damaged: number, { sequence, journalId }: FileIdentity): number | undefined {
  if (damaged + entryHeadBytes > file.length) return undefined;
  const length = lengthAt(file, damaged);
  const behind = damaged + length;
  if (length > 0 && lengthAt(file, behind) > 0 && isEntry(file, behind, file.length)) {
    // only the stored checksum is damaged, or what it is of
    const previous = file.readUInt32LE(behind + 8);
    if (previous === file.readUInt32LE(damaged + 4) || previous === crc32cRange(file, damaged + 8, behind)) return behind;
  }
  const commit = journalId === undefined ? undefined : ownCommit(file, damaged + entryHeadBytes, sequence, journalId);
  const searched = commit === undefined ? file : file.subarray(0, commit + commitEntryBytes);
  const checksum = searched.subarray(damaged + 4, damaged + 8);
  if (checksum.readUInt32LE() === 0) return commit; // a hole: most of what is there would match
  for (let found = searched.indexOf(checksum, damaged + entryHeadBytes); found !== -1; found = searched.indexOf(checksum, found + 1)) {
    if (lengthAt(file, found - 8) > 0 && isEntry(file, found - 8, file.length)) return found - 8;
  }
  return commit;
}

const commitLength = Buffer.of(commitEntryBytes, 0, 0, 0);

/**
 * The first commit of this journal (of any, if undefined) from `from` on, meant for the file with this sequence: a message may hold what
 * only looks like one.
 */
export function ownCommit(bytes: Buffer, from: number, sequence: number, journalId: Buffer | undefined): number | undefined {
  for (let at = bytes.indexOf(commitLength, from); at !== -1; at = bytes.indexOf(commitLength, at + 1)) {
    if (bytes[at + 12] !== EntryKind.commit || !isEntry(bytes, at, bytes.length)) continue;
    if (journalId !== undefined && !journalIdAt(bytes, at).equals(journalId)) continue;
    if (bytes.readDoubleLE(at + entryHeadBytes) === sequence) return at;
  }
  return undefined;
}

/** Up to where the file was synced when this commit was begun. */
export const syncedBelowAt = (bytes: Buffer, commitAt: number): number => bytes.readUInt32LE(commitAt + entryHeadBytes + 8);

export function journalIdAt(bytes: Buffer, commitAt: number): Buffer {
  const from = commitAt + entryHeadBytes + 12;
  return bytes.subarray(from, from + journalIdBytes);
}
