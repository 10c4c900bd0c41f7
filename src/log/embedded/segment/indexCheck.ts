import path from "node:path";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import { lastOffsetAt, maxTimestampAt } from "../../../record/batchHeader.ts";
import { logFileName } from "./names.ts";
import { INDEX_INTERVAL_BYTES, loadOffsetIndex, type OffsetEntry } from "./offsetIndex.ts";
import { Segment } from "./segment.ts";
import { scanSegment } from "./segmentScan.ts";
import { loadTimeIndex, type TimeEntry } from "./timeIndex.ts";

/**
 * Are both indexes of a segment that is not written any more there, in order, and do they reach to its end? Reads the indexes, and of the
 * batches only the headers behind the last entry.
 */
export async function indexesFit(fileSystem: FileSystem, folder: string, baseOffset: number): Promise<boolean> {
  const file = await fileSystem.open(path.join(folder, logFileName(baseOffset)), "read");
  try {
    const logBytes = await file.bytes();
    const offsets = await loadOffsetIndex(fileSystem, folder, baseOffset, logBytes);
    const times = await loadTimeIndex(fileSystem, folder, baseOffset);
    if (offsets === undefined || times === undefined || (times.length === 0 && logBytes > 0)) return false;
    return (await reachesEnd(file, offsets.at(-1), baseOffset, logBytes)) && (await timesFit(file, offsets, times, baseOffset, logBytes));
  } finally {
    await file.close();
  }
}

/** False as well if the last entry's batch is not where it says. */
async function reachesEnd(
  file: File,
  last: { readonly offset: number; readonly position: number } | undefined,
  baseOffset: number,
  logBytes: number,
): Promise<boolean> {
  const from = last?.position ?? 0;
  let first = true;
  let fits = true;
  await scanSegment(file, from, logBytes, false, (bytes, at, position) => {
    if (first && last !== undefined && lastOffsetAt(bytes, at) !== last.offset) fits = false;
    if (position - from >= INDEX_INTERVAL_BYTES || lastOffsetAt(bytes, at) < baseOffset) fits = false;
    first = false;
    return fits ? undefined : "stop";
  });
  return fits;
}

/** The same of the first `logBytes` of the segment that is written: what of a lost end is not noticed is hidden by the entries that come then. */
export async function timeIndexFits(fileSystem: FileSystem, folder: string, baseOffset: number, logBytes: number): Promise<boolean> {
  if (logBytes === 0) return true;
  const offsets = await loadOffsetIndex(fileSystem, folder, baseOffset, logBytes);
  const times = await loadTimeIndex(fileSystem, folder, baseOffset);
  if (offsets === undefined || times === undefined) return false;
  const file = await fileSystem.open(path.join(folder, logFileName(baseOffset)), "read");
  try {
    return await timesFit(file, offsets, times, baseOffset, logBytes);
  } finally {
    await file.close();
  }
}

/**
 * Is the last time entry's batch where it says, and none behind it later? So it is where indexes were left whole. Reads the headers from
 * there to `logBytes`: few, unless a record is far ahead of those behind it.
 */
async function timesFit(
  file: File,
  offsets: readonly OffsetEntry[],
  times: readonly TimeEntry[],
  baseOffset: number,
  logBytes: number,
): Promise<boolean> {
  const last = times.at(-1);
  if (last === undefined) return logBytes === 0;
  const from = offsets.findLast(({ offset }) => offset <= last.offset)?.position ?? 0;
  let isThere = false;
  let isLater = false;
  let reached = baseOffset;
  const { end } = await scanSegment(file, from, logBytes, false, (bytes, at) => {
    reached = lastOffsetAt(bytes, at);
    if (reached === last.offset) isThere = maxTimestampAt(bytes, at) === last.timestamp;
    isLater = reached > last.offset && maxTimestampAt(bytes, at) > last.timestamp;
    return isLater || (reached >= last.offset && !isThere) ? "stop" : undefined;
  });
  return isThere && !isLater && end === logBytes;
}

/** From the batches' headers, as far as they are whole. */
export async function rebuildIndexes(fileSystem: FileSystem, folder: string, baseOffset: number): Promise<void> {
  const bytes = (await fileSystem.stat(path.join(folder, logFileName(baseOffset))))?.bytes ?? 0;
  const segment = await Segment.open(fileSystem, folder, baseOffset, bytes, false);
  await segment.syncIndexes().finally(() => segment.close());
}
