import type { Destination, JournalVisitor } from "../../contract/queueJournal.ts";
import { FileWindow } from "../files/fileWindow.ts";
import {
  commitEntryBytes,
  cutEntryBytes,
  decodeCut,
  destinationBytes,
  EntryFlag,
  EntryKind,
  entryHeadBytes,
  fileHeaderBytes,
  isEntry,
  messageHeadBytes,
} from "../files/format.ts";
import type { JournalFile } from "../files/journalFile.ts";
import { journalIdAt, ownCommit, syncedBelowAt } from "../files/journalMessages.ts";

/** A place in a file, and the checksum of the entry before it. */
export interface ChainPlace {
  readonly at: number;
  readonly chain: number;
}

/** What the entries of the journal say. */
export type EntryVisitor = Pick<JournalVisitor, "message" | "acknowledged" | "dropped">;

interface ScannedFile {
  /** Where the valid entries end. */
  readonly end: ChainPlace;
  /** It ends with an `end` entry. */
  readonly finished: boolean;
  readonly entries: number;
  /** What the commits of this journal have in common, if there is one among the entries. */
  readonly journalId: Buffer | undefined;
  /** According to the last commit. */
  readonly syncedBelow: number;
}

/** Follows the chain, calls the visitor for each entry, and stops where the chain breaks, or the file does not count any more. */
export async function scanFile(
  file: JournalFile,
  fileBytes: number,
  from: ChainPlace,
  visitor: EntryVisitor | undefined,
): Promise<ScannedFile> {
  const countsTo = Math.min(fileBytes, file.countsTo);
  const window = new FileWindow(await file.ready, countsTo);
  let { at: here, chain } = from;
  let journalId: Buffer | undefined;
  let syncedBelow = 0;
  for (let entries = 0; ; entries++) {
    const broken = { end: { at: here, chain }, finished: false, entries, journalId, syncedBelow };
    if (!window.holds(here, entryHeadBytes) && !(await window.load(here, entryHeadBytes))) return broken;
    const length = window.bytes.readUInt32LE(here - window.start);
    if (length < entryHeadBytes || window.bytes.readUInt32LE(here - window.start + 8) !== chain) return broken;
    if (!window.holds(here, length) && !(await window.load(here, length))) return broken;
    const at = here - window.start;
    if (!isEntry(window.bytes, at, at + length)) return broken;
    chain = window.bytes.readUInt32LE(at + 4);
    const kind = window.bytes[at + 12];
    if (kind === EntryKind.end) return { ...broken, end: { at: here + length, chain }, finished: true, entries: entries + 1 };
    if (kind === EntryKind.commit) {
      journalId ??= Buffer.from(journalIdAt(window.bytes, at));
      syncedBelow = syncedBelowAt(window.bytes, at);
    }
    if (visitor !== undefined) visit(window.bytes, at, length, file.sequence * fileBytes + here, visitor);
    here += length;
  }
}

/** How the file begins: what it says of an earlier one that failed, and what the commits of this journal have in common. */
export async function beginOf(file: JournalFile): Promise<{ cut: ReturnType<typeof decodeCut>; journalId: Buffer | undefined }> {
  const begin = Buffer.alloc(2 * cutEntryBytes + commitEntryBytes);
  const handle = await file.ready;
  const bytes = begin.subarray(0, await handle.read(begin, 0, begin.length, fileHeaderBytes));
  let journalId: Buffer | undefined;
  for (const at of [0, 2 * cutEntryBytes]) {
    if (!isEntry(bytes, at, bytes.length) || bytes[at + 12] !== EntryKind.commit) continue;
    if (bytes.readDoubleLE(at + entryHeadBytes) === file.sequence) journalId ??= Buffer.from(journalIdAt(bytes, at));
  }
  return { cut: decodeCut(bytes, file.sequence), journalId };
}

/** Does a `commit` behind the break say that the broken place had been synced? Then it is no torn write. */
export async function wasSynced(file: JournalFile, fileBytes: number, brokenAt: number, journalId: Buffer | undefined): Promise<boolean> {
  const window = new FileWindow(await file.ready, fileBytes);
  for (let here = brokenAt; await window.load(here, commitEntryBytes); here += window.loadedBytes - commitEntryBytes + 1) {
    const bytes = window.bytes.subarray(0, window.loadedBytes);
    for (let from = 0; ; from++) {
      const commit = ownCommit(bytes, from, file.sequence, journalId);
      if (commit === undefined) break;
      if (syncedBelowAt(bytes, commit) > brokenAt) return true;
      from = commit;
    }
  }
  return false;
}

/** The whole of it, as far as it is there. */
export async function readWhole(file: JournalFile, fileBytes: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(Math.min(fileBytes, file.countsTo));
  const handle = await file.ready;
  return bytes.subarray(0, await handle.read(bytes, 0, bytes.length, 0));
}

/**
 * Writes again what a process before this one may have written without a sync that worked: after one that failed, the pages may be in
 * memory only and count as clean, so that a sync alone would not write them.
 */
export async function writeAgain(file: JournalFile, from: number, to: number): Promise<void> {
  const handle = await file.ready;
  const bytes = Buffer.allocUnsafeSlow(Math.min(1024 * 1024, to - from));
  for (let at = from; at < to; at += bytes.length) {
    const read = await handle.read(bytes, 0, Math.min(bytes.length, to - at), at);
    await handle.write(bytes, 0, read, at);
  }
}

function visit(bytes: Buffer, at: number, length: number, position: number, visitor: EntryVisitor): void {
  const kind = bytes[at + 12];
  if (kind === EntryKind.message) return visitMessage(bytes, at, length, position, visitor);
  if (kind === EntryKind.dropped)
    return visitor.dropped(bytes.readUInt32LE(at + entryHeadBytes), bytes.readDoubleLE(at + entryHeadBytes + 4));
  if (kind !== EntryKind.acknowledgements) return;
  for (let one = at + entryHeadBytes; one < at + length; one += destinationBytes) {
    visitor.acknowledged(bytes.readUInt32LE(one), bytes.readDoubleLE(one + 4));
  }
}

function visitMessage(bytes: Buffer, at: number, length: number, position: number, visitor: EntryVisitor): void {
  const flags = bytes[at + 13] as number;
  if ((flags & EntryFlag.persistent) === 0) return;
  const count = bytes.readUInt32LE(at + 24);
  const destinations: Destination[] = [];
  let next = at + messageHeadBytes;
  for (let n = 0; n < count; n++) {
    destinations.push({ queue: bytes.readUInt32LE(next), offset: bytes.readDoubleLE(next + 4) });
    next += destinationBytes;
  }
  const dedupe = next + bytes.readUInt16LE(at + 28);
  const content = dedupe + bytes.readUInt16LE(at + 30);
  visitor.message({
    position,
    destinations,
    dedupeId: (flags & EntryFlag.dedupe) === 0 ? undefined : bytes.toString("utf8", dedupe, content),
    timestamp: bytes.readDoubleLE(at + 16),
    persistent: true,
    contentBytes: at + length - content,
  });
}
