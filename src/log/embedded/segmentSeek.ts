import path from "node:path";
import type { MillraceError } from "../../base/errors.ts";
import type { File, FileSystem } from "../../base/fileSystem.ts";
import { BATCH_HEADER_BYTES, lastOffsetAt } from "../../record/batchHeader.ts";
import { logFileName } from "./names.ts";
import { findOffsetEntry, type OffsetEntry } from "./offsetIndex.ts";
import { scanSegment } from "./segmentScan.ts";

/** A segment file, opened by its reader. */
export interface OpenSegment {
  readonly baseOffset: number;
  readonly file: File;
}

export async function openSegment(fileSystem: FileSystem, folder: string, baseOffset: number): Promise<OpenSegment> {
  return { baseOffset, file: await fileSystem.open(path.join(folder, logFileName(baseOffset)), "read") };
}

/** Where in a segment's file. */
interface Found {
  readonly position: number;
  readonly problem: MillraceError | undefined;
}

/**
 * Where the first batch begins that ends at or after `offset`, or `limit`. An index entry is followed only if the batch that it promises
 * is there; else the segment is read from its start.
 */
export async function seekOffset(
  fileSystem: FileSystem,
  folder: string,
  { baseOffset, file }: OpenSegment,
  offset: number,
  limit: number,
): Promise<Found> {
  const entry = await findOffsetEntry(fileSystem, folder, baseOffset, offset);
  const found = entry && (await seekFromEntry(file, entry, offset, limit));
  return found ?? seekFrom(file, 0, offset, limit);
}

/** Undefined: the batch of the entry is not there. */
async function seekFromEntry(file: File, entry: OffsetEntry, offset: number, limit: number): Promise<Found | undefined> {
  if (entry.position < 0 || entry.position + BATCH_HEADER_BYTES > limit) return undefined;
  let isThere = false;
  const found = await seekFrom(file, entry.position, offset, limit, (lastOffset) => {
    isThere ||= lastOffset === entry.offset;
    return isThere;
  });
  return isThere ? found : undefined;
}

/** @param goesOn is asked about each batch's last offset. */
async function seekFrom(
  file: File,
  from: number,
  offset: number,
  limit: number,
  goesOn: (lastOffset: number) => boolean = () => true,
): Promise<Found> {
  const { end, problem } = await scanSegment(file, from, limit, false, (bytes, at) => {
    const lastOffset = lastOffsetAt(bytes, at);
    return goesOn(lastOffset) && lastOffset < offset ? undefined : "stop";
  });
  return { position: end, problem };
}
