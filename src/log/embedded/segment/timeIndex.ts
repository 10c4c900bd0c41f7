/**
 * The sparse time index of a segment, `.timeindex`, as Kafka has it: entries of 12 bytes, big-endian, ascending in both,
 *
 *   timestamp i64   relative offset i32 (from the segment's base offset)
 *
 * An entry says that up to and with the batch that ends with that offset no record is later than `timestamp`, and that this batch has one
 * that is exactly so late. A segment that is not written any more has a last entry for its latest record.
 */
import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import { readInt64, writeInt64 } from "../../../record/batchHeader.ts";
import { type IndexEntry, type IndexLayout, readIndexFile } from "./indexFile.ts";
import { findInIndex, type IndexRange, lastInIndex } from "./indexSearch.ts";
import { timeIndexFileName } from "./names.ts";

const TIME_ENTRY_BYTES = 12;

export interface TimeEntry {
  readonly timestamp: number;
  readonly offset: number;
}

export const timeIndexLayout = (baseOffset: number): IndexLayout => ({
  entryBytes: TIME_ENTRY_BYTES,
  encode(into, at, timestamp, offset) {
    writeInt64(into, at, timestamp);
    into.writeInt32BE(offset - baseOffset, at + 8);
  },
  first: readInt64,
  second: (bytes, at) => baseOffset + bytes.readInt32BE(at + 8),
});

/** All entries of an index file; undefined if there is none, or what is in it can't be a time index. */
export async function loadTimeIndex(fileSystem: FileSystem, folder: string, baseOffset: number): Promise<TimeEntry[] | undefined> {
  const bytes = await readIndexFile(fileSystem, path.join(folder, timeIndexFileName(baseOffset)));
  if (bytes === undefined || bytes.length % TIME_ENTRY_BYTES !== 0) return undefined;
  const entries: TimeEntry[] = [];
  for (let at = 0; at < bytes.length; at += TIME_ENTRY_BYTES) {
    const entry = { timestamp: readInt64(bytes, at), offset: baseOffset + bytes.readInt32BE(at + 8) };
    const last = entries.at(-1);
    if (entry.offset < baseOffset || (last !== undefined && (entry.offset <= last.offset || entry.timestamp <= last.timestamp))) {
      return undefined;
    }
    entries.push(entry);
  }
  return entries;
}

/**
 * The last entry that is earlier than `timestamp`: what is searched lies after its offset. Undefined: nowhere is known to be too early.
 *
 * @param beforeOffset an entry at or above it is passed over: of what is being written, or was left by a write that failed
 * @param about from when to when the segment is, if that is known
 */
export async function findTimeEntry(
  fileSystem: FileSystem,
  folder: string,
  baseOffset: number,
  timestamp: number,
  beforeOffset: number,
  about?: IndexRange,
): Promise<TimeEntry | undefined> {
  const latest = Math.ceil(timestamp) - 1;
  const name = path.join(folder, timeIndexFileName(baseOffset));
  const layout = timeIndexLayout(baseOffset);
  const entry = asTimeEntry(await findInIndex(fileSystem, name, layout, latest, about));
  if (entry === undefined || entry.offset < beforeOffset) return entry;
  const byOffset = { ...layout, first: layout.second, second: layout.first };
  const below = await findInIndex(fileSystem, name, byOffset, beforeOffset - 1);
  return below === undefined || below.second > latest ? undefined : { timestamp: below.second, offset: below.first };
}

/** The last entry of all. */
export async function lastTimeEntry(fileSystem: FileSystem, folder: string, baseOffset: number): Promise<TimeEntry | undefined> {
  return asTimeEntry(await lastInIndex(fileSystem, path.join(folder, timeIndexFileName(baseOffset)), timeIndexLayout(baseOffset)));
}

const asTimeEntry = (entry: IndexEntry | undefined): TimeEntry | undefined =>
  entry === undefined ? undefined : { timestamp: entry.first, offset: entry.second };
