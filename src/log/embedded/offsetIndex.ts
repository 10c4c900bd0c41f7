/**
 * The sparse index of a segment, as Kafka has it: entries of 8 bytes, big-endian, ascending,
 *
 *   relative offset i32 (from the segment's base offset)   position i32 (in the .log file)
 *
 * one about every 4 KiB of log. An entry says that the batch at `position` begins with that offset. The index is a help, never the
 * truth: recovery rebuilds it from the log where it is missing or does not fit, so it is never synced.
 */
import path from "node:path";
import type { File, FileSystem } from "../../base/fileSystem.ts";
import { indexFileName } from "./names.ts";

const INDEX_ENTRY_BYTES = 8;
export const INDEX_INTERVAL_BYTES = 4096;
/** Entries wait in memory until they stand for so much log: a reader that seeks scans at most about this much past the index. */
const WRITE_EVERY_LOG_BYTES = 1024 * 1024;

export interface IndexEntry {
  readonly offset: number;
  readonly position: number;
}

/** The writer's side: knows the last entry, gathers new ones, writes them now and then. */
export class OffsetIndex {
  private lastPosition: number;
  private pending: IndexEntry[] = [];
  private writtenUpTo = 0;

  private constructor(
    private readonly file: File,
    private readonly baseOffset: number,
    private entryCount: number,
    lastPosition: number,
  ) {
    this.lastPosition = lastPosition;
  }

  /** A new, empty one in the place of whatever is there. */
  static async create(fileSystem: FileSystem, folder: string, baseOffset: number): Promise<OffsetIndex> {
    const file = path.join(folder, indexFileName(baseOffset));
    if ((await fileSystem.stat(file)) !== undefined) await fileSystem.removeFile(file);
    return new OffsetIndex(await fileSystem.open(file, "create"), baseOffset, 0, 0);
  }

  /** The batch that begins with `offset` was put at `position`. */
  add(offset: number, position: number): void {
    if (position - this.lastPosition < INDEX_INTERVAL_BYTES) return;
    this.lastPosition = position;
    this.pending.push({ offset, position });
  }

  /** Writes what waits, if it is worth a write. */
  async writeIfDue(logBytes: number): Promise<void> {
    if (this.pending.length === 0 || logBytes - this.writtenUpTo < WRITE_EVERY_LOG_BYTES) return;
    this.writtenUpTo = logBytes;
    await this.write();
  }

  async write(): Promise<void> {
    const { pending } = this;
    if (pending.length === 0) return;
    this.pending = [];
    const bytes = encodeEntries(pending, this.baseOffset);
    await this.file.write(bytes, 0, bytes.length, this.entryCount * INDEX_ENTRY_BYTES);
    this.entryCount += pending.length;
  }

  close(): Promise<void> {
    return this.file.close();
  }
}

function encodeEntries(entries: readonly IndexEntry[], baseOffset: number): Buffer {
  const bytes = Buffer.allocUnsafe(entries.length * INDEX_ENTRY_BYTES);
  entries.forEach((entry, i) => {
    bytes.writeInt32BE(entry.offset - baseOffset, i * INDEX_ENTRY_BYTES);
    bytes.writeInt32BE(entry.position, i * INDEX_ENTRY_BYTES + 4);
  });
  return bytes;
}

/** All entries of an index file; undefined if there is none, or what is in it can't be the index of a log of `logBytes`. */
export async function loadIndex(
  fileSystem: FileSystem,
  folder: string,
  baseOffset: number,
  logBytes: number,
): Promise<IndexEntry[] | undefined> {
  let bytes: Buffer;
  try {
    bytes = await fileSystem.readFile(path.join(folder, indexFileName(baseOffset)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  if (bytes.length % INDEX_ENTRY_BYTES !== 0) return undefined;
  const entries: IndexEntry[] = [];
  let last = { offset: baseOffset, position: 0 };
  for (let at = 0; at < bytes.length; at += INDEX_ENTRY_BYTES) {
    const entry = { offset: baseOffset + bytes.readInt32BE(at), position: bytes.readInt32BE(at + 4) };
    if (entry.offset <= last.offset || entry.position <= last.position || entry.position >= logBytes) return undefined;
    entries.push(entry);
    last = entry;
  }
  return entries;
}

/** The last entry at or before `offset`; the segment's start without one. */
export function lookUp(entries: readonly IndexEntry[], offset: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((entries[middle] as IndexEntry).offset <= offset) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? 0 : (entries[low - 1] as IndexEntry).position;
}
