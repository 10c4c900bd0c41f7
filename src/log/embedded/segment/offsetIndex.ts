/**
 * The sparse offset index of a segment, `.index`, as Kafka has it: entries of 8 bytes, big-endian, ascending,
 *
 *   relative offset i32 (from the segment's base offset)   position i32 (in the .log file)
 *
 * one about every 4 KiB of log. An entry says that the batch at `position` ends with that offset. The index is a help, never the
 * truth: whoever follows an entry looks whether the batch is there, and reads the segment from its start if not.
 */
import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import { type IndexLayout, readIndexFile } from "./indexFile.ts";
import { findInIndex } from "./indexSearch.ts";
import { indexFileName } from "./names.ts";

export const INDEX_INTERVAL_BYTES = 4096;
/** A segment has no more: relative offsets are int32. */
export const SEGMENT_OFFSETS_MAX = 2147483647;
const OFFSET_ENTRY_BYTES = 8;

export interface OffsetEntry {
  /** Last offset of the batch. */
  readonly offset: number;
  readonly position: number;
}

export const offsetIndexLayout = (baseOffset: number): IndexLayout => ({
  entryBytes: OFFSET_ENTRY_BYTES,
  encode(into, at, offset, position) {
    into.writeInt32BE(offset - baseOffset, at);
    into.writeInt32BE(position, at + 4);
  },
  first: (bytes, at) => baseOffset + bytes.readInt32BE(at),
  second: (bytes, at) => bytes.readInt32BE(at + 4),
});

/** All entries of an index file; undefined if there is none, or what is in it can't be the index of a log of `logBytes`. */
export async function loadOffsetIndex(
  fileSystem: FileSystem,
  folder: string,
  baseOffset: number,
  logBytes: number,
): Promise<OffsetEntry[] | undefined> {
  const bytes = await readIndexFile(fileSystem, path.join(folder, indexFileName(baseOffset)));
  if (bytes === undefined || bytes.length % OFFSET_ENTRY_BYTES !== 0) return undefined;
  const entries: OffsetEntry[] = [];
  let last = { offset: baseOffset, position: 0 };
  for (let at = 0; at < bytes.length; at += OFFSET_ENTRY_BYTES) {
    const entry = { offset: baseOffset + bytes.readInt32BE(at), position: bytes.readInt32BE(at + 4) };
    if (entry.offset <= last.offset || entry.position <= last.position || entry.position >= logBytes) return undefined;
    entries.push(entry);
    last = entry;
  }
  return entries;
}

/**
 * The last entry at or before `offset`; undefined: nothing is known but the segment's start.
 *
 * @param endOffset of the segment, about
 */
export async function findOffsetEntry(
  fileSystem: FileSystem,
  folder: string,
  baseOffset: number,
  offset: number,
  endOffset: number,
): Promise<OffsetEntry | undefined> {
  const name = path.join(folder, indexFileName(baseOffset));
  const found = await findInIndex(fileSystem, name, offsetIndexLayout(baseOffset), offset, { from: baseOffset, to: endOffset });
  return found === undefined ? undefined : { offset: found.first, position: found.second };
}
