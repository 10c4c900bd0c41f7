/**
 * The journal's files. Little endian.
 *
 *   file     <sequence>.journal, of a fixed size: header, entries, and then whatever was there before (zeros, or an earlier life)
 *   header   magic "MRJOURNL" | format version u32 | file bytes u32 | sequence f64 | CRC-32C u32 of all before | 4 unused
 *   entry    length u32 (of the whole entry) | CRC-32C u32 (of all after this field) | previous u32 | kind u8 | flags u8 |
 *            content format u16 | body
 *   message  timestamp f64 | destinations u32 | address bytes u16 | dedupe id bytes u16 |
 *            destinations x (queue u32, offset f64) | address | dedupe id | content
 *   acks     n x (queue u32, offset f64)
 *   dropped  queue u32, offset f64 (Infinity: the queue is deleted)
 *   commit   sequence f64 | synced below u32 (in this file) | 4 bytes, random a journal | 4 bytes, random a process:
 *            begins each write
 *   end      nothing follows in this file, the next file goes on
 *   cut      sequence of this file f64 | sequence of the file that failed f64 | counts to u32 (in that file): twice, at the
 *            beginning of a file. What lies behind that place, and in the files between, never counts, whatever it looks like
 *
 * Magic, version, sequence, checksum: the header's first 28 bytes stay where they are in every version of the format.
 *
 * Invariants:
 * - Chain: `previous` is the CRC of the entry before, of the header for a file's first. Hence bytes of the file's earlier life, and
 *   entries that a disk kept behind a hole in an unfinished write, never continue the chain: not after the header, and not
 *   after what the next process writes into the hole, since that begins with a `commit` of its own.
 * - An entry never spans files. Every file but the last ends with `end`, which is synced before the next file's first entry is
 *   written, or is cut. So a break in the chain is a torn end only if no entry of a later file is valid, and no `commit` behind it says
 *   that the broken place had been synced; else it is damage. (What is left by a torn write never says so of its own place. Damage in the
 *   last two writes can't be told from a torn end.) Behind damage the chain is taken up again where an entry repeats the checksum of the
 *   damaged one, or at the next `commit` of this journal in this file.
 * - Cut: after a failed write or sync nothing more is written into that file. The next one begins with `cut`, and with what was not
 *   synced in the failed one, verbatim; it is synced before anything goes on. The failed file goes before the one with the `cut`.
 *   Sequences have a gap only where a `cut` covers it. The cut stands there twice and says whose it is, so that one damaged entry
 *   does not bring back what was cut off.
 * - Files are reused, and removed, oldest first, each step durable before the next. An acknowledgement is in the same file as its
 *   message or in a later one, so it is never gone while the message can still come back.
 * - A name is given only to a file that is filled, headed and synced; a file in the making is `next.spare`, and worthless after a
 *   crash. A broken header under a sequence's name is therefore damage, always; its content is known from the name and the size.
 */
import { crc32cRange } from "../../../base/crc32c.ts";
import { MillraceError } from "../../../base/errors.ts";

const formatVersion = 1;
export const fileHeaderBytes = 32;
export const entryHeadBytes = 16;
export const messageHeadBytes = 32;
export const destinationBytes = 12;
/** Nobody but the journal's own processes can know it: no message can hold a commit of this journal. */
export const journalIdBytes = 4;
export const commitEntryBytes = entryHeadBytes + 20;
export const endEntryBytes = entryHeadBytes;
export const cutEntryBytes = entryHeadBytes + 20;

export const EntryKind = { message: 1, acknowledgements: 2, dropped: 3, commit: 4, end: 5, dedupeId: 6, cut: 7 } as const;
export const EntryFlag = { persistent: 1, dedupe: 2 } as const;

const magic = "MRJOURNL";

export interface FileHeader {
  readonly sequence: number;
  readonly fileBytes: number;
  readonly crc: number;
}

export function encodeFileHeader(sequence: number, fileBytes: number): Buffer {
  const header = Buffer.alloc(fileHeaderBytes);
  header.write(magic, 0, "latin1");
  header.writeUInt32LE(formatVersion, 8);
  header.writeUInt32LE(fileBytes, 12);
  header.writeDoubleLE(sequence, 16);
  header.writeUInt32LE(crc32cRange(header, 0, 24), 24);
  return header;
}

/** Undefined: it is damaged. */
export function decodeFileHeader(header: Buffer, where: string): FileHeader | undefined {
  if (header.length < fileHeaderBytes || header.toString("latin1", 0, 8) !== magic) return undefined;
  const crc = header.readUInt32LE(24);
  if (crc !== crc32cRange(header, 0, 24)) return undefined;
  const version = header.readUInt32LE(8);
  if (version > formatVersion) {
    throw new MillraceError(
      "JOURNAL_TOO_NEW",
      `The journal has format version ${version}; this version of millrace reads up to ${formatVersion}.`,
      {
        domain: "user",
        where,
        hint: "Start the newer version of millrace that wrote it.",
      },
    );
  }
  return { fileBytes: header.readUInt32LE(12), sequence: header.readDoubleLE(16), crc };
}

/** Of a file that failed: what counts. */
export interface Cut {
  readonly sequence: number;
  /** An offset in the file. */
  readonly countsTo: number;
}

/**
 * The cut that the file with this sequence begins with, if it does. `first`: it is the one that the chain begins with; else that one is
 * broken, and this the other.
 * @param begin the file's first bytes behind its header
 */
export function decodeCut(begin: Buffer, sequence: number): (Cut & { readonly first: boolean }) | undefined {
  for (let at = 0; at < 2 * cutEntryBytes; at += cutEntryBytes) {
    if (!isEntry(begin, at, Math.min(begin.length, at + cutEntryBytes)) || begin[at + 12] !== EntryKind.cut) continue;
    const body = at + entryHeadBytes;
    if (begin.readDoubleLE(body) !== sequence) continue;
    return { sequence: begin.readDoubleLE(body + 8), countsTo: begin.readUInt32LE(body + 16), first: at === 0 };
  }
  return undefined;
}

/** Is there a whole entry at `at`, as far as it can be told from itself? */
export function isEntry(bytes: Buffer, at: number, end: number): boolean {
  if (at + entryHeadBytes > end) return false;
  const length = bytes.readUInt32LE(at);
  return length >= entryHeadBytes && length <= end - at && crc32cRange(bytes, at + 8, at + length) === bytes.readUInt32LE(at + 4);
}

export function decodeMessage(bytes: Buffer, at: number): { address: Buffer; contentFormat: number; content: Buffer } {
  const address = at + messageHeadBytes + bytes.readUInt32LE(at + 24) * destinationBytes;
  const dedupe = address + bytes.readUInt16LE(at + 28);
  const content = dedupe + bytes.readUInt16LE(at + 30);
  return {
    address: Buffer.from(bytes.subarray(address, dedupe)),
    contentFormat: bytes.readUInt16LE(at + 14),
    content: Buffer.from(bytes.subarray(content, at + bytes.readUInt32LE(at))),
  };
}

export function corrupt(where: string, why: string): MillraceError {
  return new MillraceError("JOURNAL_CORRUPT", `The queues' journal is damaged: ${why}.`, {
    domain: "external",
    where,
    hint: "Restore the data directory from a backup; the disk may be failing.",
  });
}

/** Trying again will not help. */
export const isDamage = (error: unknown): boolean => error instanceof MillraceError && error.code === "JOURNAL_CORRUPT";
