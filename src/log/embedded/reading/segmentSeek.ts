import path from "node:path";
import { MillraceError } from "../../../base/errors.ts";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import { BATCH_HEADER_BYTES, baseOffsetAt, lastOffsetAt } from "../../../record/batchHeader.ts";
import { type BatchPlace, clearPlaceBehind } from "../segment/behindDamage.ts";
import { offsetsBehind, SearchBudget } from "../segment/lookalikes.ts";
import { logFileName } from "../segment/names.ts";
import { findOffsetEntry, type OffsetEntry } from "../segment/offsetIndex.ts";
import { scanSegment } from "../segment/segmentScan.ts";

/** Of the index, of which all lead to bad batches, before a segment is read from its start. */
const ENTRIES_TRIED_MAX = 8;

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
 *
 * @param endOffset where the segment ends, about: it guides the search
 * @param dense the segment has no gaps: each batch begins where the one before it ended
 */
export async function seekOffset(
  fileSystem: FileSystem,
  folder: string,
  { baseOffset, file }: OpenSegment,
  offset: number,
  limit: number,
  endOffset: number,
  dense = false,
): Promise<Found> {
  const entry = await findOffsetEntry(fileSystem, folder, baseOffset, offset, endOffset);
  const found = entry && (await seekFromEntry(file, entry, offset, limit, dense));
  if (found !== undefined) return found;
  const places = new Places(dense, baseOffset);
  return seekFrom(file, 0, offset, limit, places);
}

/** What lies there is damaged, or what lies on the way to it. */
export interface FoundOverDamage extends Found {
  /** If there is a problem: the next offset that can be read, if it is in this segment. */
  readonly readableFrom: number | undefined;
}

/**
 * The same where the headers lead astray: every batch on the way is checked, and bad ones are passed over. Begins with a batch of the index
 * that is whole, not far before, or with the segment's first one.
 *
 * @param endOffset what is at or above it is no part of the segment, or not decided yet
 */
export async function seekOverDamage(
  fileSystem: FileSystem,
  folder: string,
  { baseOffset, file }: OpenSegment,
  offset: number,
  limit: number,
  endOffset: number,
  dense: boolean,
): Promise<FoundOverDamage> {
  let { position, offset: expected } = (await wholeBefore(fileSystem, folder, file, baseOffset, offset, limit, endOffset)) ?? {
    position: 0,
    offset: baseOffset,
  };
  const budget = new SearchBudget(limit - position);
  for (;;) {
    let misplaced: MillraceError | undefined;
    let isFound = false;
    const { end, problem } = await scanSegment(file, position, limit, true, (bytes, at, found) => {
      const base = baseOffsetAt(bytes, at);
      if (base < expected || (dense && base > expected)) {
        misplaced = outOfPlace(found);
        return "stop";
      }
      isFound = lastOffsetAt(bytes, at) >= offset;
      if (isFound) return "stop";
      expected = lastOffsetAt(bytes, at) + 1;
      return undefined;
    });
    const bad = problem ?? misplaced;
    if (bad === undefined) return { position: end, problem: undefined, readableFrom: undefined };
    const behind = await clearPlaceBehind(file, end, limit, offsetsBehind(expected, baseOffset, endOffset), budget);
    if (behind === undefined || behind.offset > offset) return { position: end, problem: bad, readableFrom: behind?.offset };
    ({ position, offset: expected } = behind);
  }
}

/** Undefined: the last entries before the offset lead to no whole batch. */
async function wholeBefore(
  fileSystem: FileSystem,
  folder: string,
  file: File,
  baseOffset: number,
  offset: number,
  limit: number,
  endOffset: number,
): Promise<BatchPlace | undefined> {
  for (let tried = 0, before = offset - 1; tried < ENTRIES_TRIED_MAX; tried++) {
    const entry = await findOffsetEntry(fileSystem, folder, baseOffset, before, endOffset);
    if (entry === undefined || entry.position < 0 || entry.position >= limit) return undefined;
    let place: BatchPlace | undefined;
    await scanSegment(file, entry.position, limit, true, (bytes, at, position) => {
      if (lastOffsetAt(bytes, at) === entry.offset) place = { position, offset: baseOffsetAt(bytes, at) };
      return "stop";
    });
    if (place !== undefined) return place;
    before = entry.offset - 1;
  }
  return undefined;
}

/** Whether each batch has the offset that its place among the others gives it. */
class Places {
  constructor(
    private readonly dense: boolean,
    /** Of the next batch; undefined: not known. */
    private expected: number | undefined,
  ) {}

  fits(bytes: Buffer, at: number): boolean {
    const fits = !this.dense || this.expected === undefined || this.expected === baseOffsetAt(bytes, at);
    this.expected = lastOffsetAt(bytes, at) + 1;
    return fits;
  }
}

/** Undefined: the batch of the entry is not there. */
async function seekFromEntry(file: File, entry: OffsetEntry, offset: number, limit: number, dense: boolean): Promise<Found | undefined> {
  if (entry.position < 0 || entry.position + BATCH_HEADER_BYTES > limit) return undefined;
  let isThere = false;
  const found = await seekFrom(file, entry.position, offset, limit, new Places(dense, undefined), (lastOffset) => {
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
  places: Places,
  goesOn: (lastOffset: number) => boolean = () => true,
): Promise<Found> {
  let misplaced: MillraceError | undefined;
  const { end, problem } = await scanSegment(file, from, limit, false, (bytes, at, position) => {
    if (!places.fits(bytes, at)) {
      misplaced = outOfPlace(position);
      return "stop";
    }
    const lastOffset = lastOffsetAt(bytes, at);
    return goesOn(lastOffset) && lastOffset < offset ? undefined : "stop";
  });
  return { position: end, problem: problem ?? misplaced };
}

const outOfPlace = (position: number): MillraceError =>
  new MillraceError("BATCH_CORRUPT", "A record batch does not go on where the one before it ended.", {
    domain: "external",
    where: `byte ${position}`,
  });
