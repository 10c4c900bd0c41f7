import type { File } from "../../base/fileSystem.ts";
import type { Destination, JournalVisitor } from "../contract/queueJournal.ts";
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
import type { JournalFile } from "./journalFile.ts";

/** Read at once in a replay; an entry that is larger gets a buffer of its own size. */
const chunkBytes = 1024 * 1024;

/** What the entries of the journal say. */
export type EntryVisitor = Pick<JournalVisitor, "message" | "acknowledged" | "dropped">;

interface ScannedFile {
  /** Where the valid entries end. */
  readonly end: number;
  /** Of the last valid entry, or of the header. */
  readonly chain: number;
  /** It ends with an `end` entry. */
  readonly finished: boolean;
  readonly entries: number;
  /** What the commits of this journal have in common, if there is one in the file. */
  readonly journalId: Buffer | undefined;
}

/** Follows the chain from the file's header on, calls the visitor for each entry, and stops where the chain breaks. */
export async function scanFile(file: JournalFile, fileBytes: number, visitor: EntryVisitor | undefined): Promise<ScannedFile> {
  const window = new Window(await file.ready, fileBytes);
  let here = fileHeaderBytes;
  let chain = file.headerCrc;
  let journalId: Buffer | undefined;
  for (let entries = 0; ; entries++) {
    const broken = { end: here, chain, finished: false, entries, journalId };
    if (!window.holds(here, entryHeadBytes) && !(await window.load(here, entryHeadBytes))) return broken;
    const length = window.bytes.readUInt32LE(here - window.start);
    if (length < entryHeadBytes || window.bytes.readUInt32LE(here - window.start + 8) !== chain) return broken;
    if (!window.holds(here, length) && !(await window.load(here, length))) return broken;
    const at = here - window.start;
    if (!isEntry(window.bytes, at, at + length)) return broken;
    chain = window.bytes.readUInt32LE(at + 4);
    if (window.bytes[at + 12] === EntryKind.end) return { end: here + length, chain, finished: true, entries: entries + 1, journalId };
    if (window.bytes[at + 12] === EntryKind.commit) journalId ??= journalIdAt(window.bytes, at);
    if (visitor !== undefined) visit(window.bytes, at, length, file.sequence * fileBytes + here, visitor);
    here += length;
  }
}

const journalIdAt = (bytes: Buffer, commitAt: number): Buffer => {
  const from = commitAt + entryHeadBytes + 12;
  return Buffer.from(bytes.subarray(from, from + journalIdBytes));
};

/**
 * Does a `commit` behind the break say that the broken place had been synced? Then it is no torn write. It must be this journal's own:
 * a message may hold what looks like one.
 */
export async function wasSynced(file: JournalFile, fileBytes: number, brokenAt: number, journalId: Buffer): Promise<boolean> {
  const window = new Window(await file.ready, fileBytes);
  const lengthField = Buffer.alloc(4);
  lengthField.writeUInt32LE(commitEntryBytes);
  for (let here = brokenAt; await window.load(here, commitEntryBytes); here += window.loadedBytes - commitEntryBytes + 1) {
    const bytes = window.bytes.subarray(0, window.loadedBytes);
    for (let at = bytes.indexOf(lengthField); at !== -1; at = bytes.indexOf(lengthField, at + 1)) {
      if (bytes[at + 12] !== EntryKind.commit || !isEntry(bytes, at, bytes.length) || !journalIdAt(bytes, at).equals(journalId)) continue;
      const sequence = bytes.readDoubleLE(at + entryHeadBytes);
      if (sequence === file.sequence && bytes.readUInt32LE(at + entryHeadBytes + 8) > brokenAt) return true;
    }
  }
  return false;
}

/** The part of a file that is in memory; it moves forward. */
class Window {
  bytes = Buffer.alloc(0);
  start = 0;
  private end = 0;

  constructor(
    private readonly handle: File,
    private readonly fileBytes: number,
  ) {}

  get loadedBytes(): number {
    return this.end - this.start;
  }

  holds(offset: number, length: number): boolean {
    return offset + length <= this.end;
  }

  /** False: the file is shorter. */
  async load(offset: number, length: number): Promise<boolean> {
    if (length > this.fileBytes - offset) return false;
    const size = Math.min(Math.max(chunkBytes, length), this.fileBytes - offset);
    if (size > this.bytes.length) this.bytes = Buffer.allocUnsafe(size);
    this.start = offset;
    this.end = offset + (await this.handle.read(this.bytes, 0, size, offset));
    return this.holds(offset, length);
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
