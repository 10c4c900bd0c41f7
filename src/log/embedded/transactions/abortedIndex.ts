/**
 * The aborted transactions whose markers lie in a segment, `.txnindex`, as Kafka has it: entries of 34 bytes, big-endian, in order of
 * their last offsets; no file if there is none.
 *
 *   version i16 = 0   producerId i64   firstOffset i64   lastOffset i64   lastStableOffset i64
 *
 * First offset: of the transaction's first batch, maybe in an older segment. Last offset: of the marker. Last stable offset: that of the
 * partition after the marker; so whoever looks for what touches the offsets below `x` is at the end with an entry that has `x` or more.
 * Invariant: below the position that the keyed store calls synced the entries are on the disk; the others are made again from the batches.
 */
import path from "node:path";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import { removeIfThere, replaceFile, replacementOf, writeNewFile } from "../../../base/wholeFile.ts";
import { readInt64, writeInt64 } from "../../../record/batchHeader.ts";
import type { AbortedTransaction } from "../../contract/embeddedLog.ts";
import { readIndexFile } from "../segment/indexFile.ts";
import { abortedIndexFileName } from "../segment/names.ts";

export const ABORTED_ENTRY_BYTES = 34;
const ENTRY_VERSION = 0;

export interface AbortedEntry extends AbortedTransaction {
  readonly lastStableOffset: number;
}

function encodeAborted(entries: readonly AbortedEntry[]): Buffer {
  const bytes = Buffer.alloc(entries.length * ABORTED_ENTRY_BYTES);
  entries.forEach(({ producerId, firstOffset, lastOffset, lastStableOffset }, i) => {
    const at = i * ABORTED_ENTRY_BYTES;
    bytes.writeInt16BE(ENTRY_VERSION, at);
    bytes.writeBigInt64BE(producerId, at + 2);
    writeInt64(bytes, at + 10, firstOffset);
    writeInt64(bytes, at + 18, lastOffset);
    writeInt64(bytes, at + 26, lastStableOffset);
  });
  return bytes;
}

/** @param after the entry before the first one, or the segment's base offset. Undefined: that can't be such entries. */
export function decodeAborted(bytes: Buffer, after: { readonly lastOffset: number }): AbortedEntry[] | undefined {
  if (bytes.length % ABORTED_ENTRY_BYTES !== 0) return undefined;
  const entries: AbortedEntry[] = [];
  let last = after.lastOffset;
  for (let at = 0; at < bytes.length; at += ABORTED_ENTRY_BYTES) {
    const entry = {
      producerId: bytes.readBigInt64BE(at + 2),
      firstOffset: readInt64(bytes, at + 10),
      lastOffset: readInt64(bytes, at + 18),
      lastStableOffset: readInt64(bytes, at + 26),
    };
    const { producerId, firstOffset, lastOffset, lastStableOffset } = entry;
    if (bytes.readInt16BE(at) !== ENTRY_VERSION || producerId < 0n || firstOffset < 0 || !Number.isSafeInteger(lastOffset))
      return undefined;
    if (lastOffset <= last || firstOffset >= lastOffset || lastStableOffset < 0 || lastStableOffset > lastOffset + 1) return undefined;
    entries.push(entry);
    last = lastOffset;
  }
  return entries;
}

/** What can be before the first entry of a segment: a marker may be its first batch. */
export const beforeSegment = (baseOffset: number): { readonly lastOffset: number } => ({ lastOffset: baseOffset - 1 });

/** All entries; none without a file. Undefined: what is in it can't be the entries of a segment. */
export async function loadAbortedIndex(fileSystem: FileSystem, folder: string, baseOffset: number): Promise<AbortedEntry[] | undefined> {
  const bytes = await readIndexFile(fileSystem, path.join(folder, abortedIndexFileName(baseOffset)));
  return bytes === undefined ? [] : decodeAborted(bytes, beforeSegment(baseOffset));
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
