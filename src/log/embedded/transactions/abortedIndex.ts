/**
 * The aborted transactions whose markers lie in a segment, `.txnindex`, as Kafka has it: entries of 34 bytes, big-endian, in order of
 * their last offsets; no file if there is none.
 *
 *   version i16   producerId i64   firstOffset i64   lastOffset i64   lastStableOffset i64
 *
 * Version: Kafka writes 0, and its readers take each entry whose version is not above that. So the log puts a checksum of the entry's other
 * bytes there, behind the sign bit, which is set: the lowest 15 bits of their CRC-32C. Any one or two bits that flip in an entry change it.
 * First offset: of the transaction's first batch, maybe in an older segment. Last offset: of the marker. Last stable offset: that of the
 * partition after the marker; so whoever looks for what touches the offsets below `x` is at the end with an entry that has `x` or more.
 *
 * Invariants: below the position that the keyed store calls synced the entries are on the disk; the others are made again from the batches.
 * An entry without its checksum is not believed: the batches say it, and the file is made again. Bytes that are there are never
 * overwritten, so what a reader in another thread finds before the end of the file is whole.
 */
import path from "node:path";
import { crc32cRange } from "../../../base/crc32c.ts";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import { removeIfThere, replaceFile, replacementOf, writeNewFile } from "../../../base/wholeFile.ts";
import { readInt64, writeInt64 } from "../../../record/batchHeader.ts";
import type { AbortedTransaction } from "../../contract/embeddedLog.ts";
import { readIndexFile } from "../segment/indexFile.ts";
import { abortedIndexFileName } from "../segment/names.ts";

export const ABORTED_ENTRY_BYTES = 34;
const VERSION_BYTES = 2;
const HAS_CHECKSUM = 0x8000;

export interface AbortedEntry extends AbortedTransaction {
  readonly lastStableOffset: number;
}

/** Bytes that can't be what was written. */
export interface AbortedDamage {
  /** Of the first ones. */
  readonly position: number;
  readonly problem: string;
}

export interface DecodedAborted {
  /** Those that are whole, ascending. */
  readonly entries: AbortedEntry[];
  readonly damage: AbortedDamage | undefined;
}

const versionOf = (bytes: Buffer, at: number): number =>
  HAS_CHECKSUM | (crc32cRange(bytes, at + VERSION_BYTES, at + ABORTED_ENTRY_BYTES) & ~HAS_CHECKSUM & 0xffff);

function encodeAborted(entries: readonly AbortedEntry[]): Buffer {
  const bytes = Buffer.alloc(entries.length * ABORTED_ENTRY_BYTES);
  entries.forEach(({ producerId, firstOffset, lastOffset, lastStableOffset }, i) => {
    const at = i * ABORTED_ENTRY_BYTES;
    bytes.writeBigInt64BE(producerId, at + 2);
    writeInt64(bytes, at + 10, firstOffset);
    writeInt64(bytes, at + 18, lastOffset);
    writeInt64(bytes, at + 26, lastStableOffset);
    bytes.writeUInt16BE(versionOf(bytes, at), at);
  });
  return bytes;
}

/** @param after the entry before the first one, or the segment's base offset. */
export function decodeAborted(bytes: Buffer, after: { readonly lastOffset: number }): DecodedAborted {
  const entries: AbortedEntry[] = [];
  let damage: AbortedDamage | undefined;
  let last = after.lastOffset;
  for (let at = 0; at < bytes.length; at += ABORTED_ENTRY_BYTES) {
    const entry = entryAt(bytes, at, last);
    if (typeof entry === "string") damage ??= { position: at, problem: entry };
    else {
      entries.push(entry);
      last = entry.lastOffset;
    }
  }
  return { entries, damage };
}

/** Or what is wrong with it. */
function entryAt(bytes: Buffer, at: number, last: number): AbortedEntry | string {
  if (bytes.length - at < ABORTED_ENTRY_BYTES) return "an entry is cut";
  if (bytes.readUInt16BE(at) !== versionOf(bytes, at)) return "an entry's checksum is wrong, or it has none";
  const entry = {
    producerId: bytes.readBigInt64BE(at + 2),
    firstOffset: readInt64(bytes, at + 10),
    lastOffset: readInt64(bytes, at + 18),
    lastStableOffset: readInt64(bytes, at + 26),
  };
  const { producerId, firstOffset, lastOffset, lastStableOffset } = entry;
  const isOrdered = last < lastOffset && firstOffset >= 0 && firstOffset < lastOffset && Number.isSafeInteger(lastOffset);
  const canBe = isOrdered && producerId >= 0n && lastStableOffset >= 0 && lastStableOffset <= lastOffset + 1;
  return canBe ? entry : "an entry says what can't be";
}

/** What can be before the first entry of a segment: a marker may be its first batch. */
export const beforeSegment = (baseOffset: number): { readonly lastOffset: number } => ({ lastOffset: baseOffset - 1 });

export interface LoadedAborted extends DecodedAborted {
  readonly file: string;
}

/** All entries; none without a file. */
export async function loadAbortedIndex(fileSystem: FileSystem, folder: string, baseOffset: number): Promise<LoadedAborted> {
  const file = path.join(folder, abortedIndexFileName(baseOffset));
  const bytes = await readIndexFile(fileSystem, file);
  return { file, ...(bytes === undefined ? { entries: [], damage: undefined } : decodeAborted(bytes, beforeSegment(baseOffset))) };
}

/** What is whole in a damaged index, and what the batches say: of those that are damaged too only the index may know. Ascending. */
export function joinedAborted(whole: readonly AbortedEntry[], made: readonly AbortedEntry[]): AbortedEntry[] {
  const known = new Set(whole.map(({ lastOffset }) => lastOffset));
  return [...whole, ...made.filter(({ lastOffset }) => !known.has(lastOffset))].toSorted((a, b) => a.lastOffset - b.lastOffset);
}

/** Puts these entries in the place of whatever is there, in one step for whoever reads meanwhile. On the disk when it resolves. */
export async function replaceAbortedIndex(
  fileSystem: FileSystem,
  folder: string,
  baseOffset: number,
  entries: readonly AbortedEntry[],
): Promise<void> {
  const name = path.join(folder, abortedIndexFileName(baseOffset));
  if (entries.length > 0) return replaceFile(fileSystem, name, encodeAborted(entries));
  for (const file of [replacementOf(name), name]) await removeIfThere(fileSystem, file);
  await fileSystem.syncDirectory(folder);
}

/** A new file; on the disk when it resolves, but for its name. */
export function writeAbortedIndex(fileSystem: FileSystem, name: string, entries: readonly AbortedEntry[]): Promise<void> {
  return writeNewFile(fileSystem, name, encodeAborted(entries));
}

/** The writing side, for the segment that is being written: no file before the first entry. */
export class AbortedIndexFile {
  private pending: AbortedEntry[] = [];
  private file: File | undefined;
  private bytes = 0;
  private unsynced = false;

  constructor(
    private readonly fileSystem: FileSystem,
    private readonly folder: string,
    private readonly baseOffset: number,
  ) {}

  add(entry: AbortedEntry): void {
    this.pending.push(entry);
  }

  /** Behind what is there. Whoever reads the batches may look for the entries from then on. */
  async write(): Promise<void> {
    if (this.pending.length === 0) return;
    const bytes = encodeAborted(this.pending);
    this.pending = [];
    this.unsynced = true;
    const file = await this.open();
    await file.write(bytes, 0, bytes.length, this.bytes);
    this.bytes += bytes.length;
  }

  async sync(): Promise<void> {
    if (!this.unsynced) return;
    await this.file?.sync();
    await this.fileSystem.syncDirectory(this.folder);
    this.unsynced = false;
  }

  async close(): Promise<void> {
    await this.file?.close();
  }

  private async open(): Promise<File> {
    if (this.file !== undefined) return this.file;
    const name = path.join(this.folder, abortedIndexFileName(this.baseOffset));
    const exists = (await this.fileSystem.stat(name)) !== undefined;
    this.file = await this.fileSystem.open(name, exists ? "write" : "create");
    this.bytes = await this.file.bytes();
    return this.file;
  }
}
