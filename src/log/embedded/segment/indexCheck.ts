import path from "node:path";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import { lastOffsetAt } from "../../../record/batchHeader.ts";
import { logFileName } from "./names.ts";
import { INDEX_INTERVAL_BYTES, loadOffsetIndex } from "./offsetIndex.ts";
import { Segment } from "./segment.ts";
import { scanSegment } from "./segmentScan.ts";
import { loadTimeIndex } from "./timeIndex.ts";

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
    return await reachesEnd(file, offsets.at(-1), baseOffset, logBytes);
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

/** From the batches' headers, as far as they are whole. */
export async function rebuildIndexes(fileSystem: FileSystem, folder: string, baseOffset: number): Promise<void> {
  const bytes = (await fileSystem.stat(path.join(folder, logFileName(baseOffset))))?.bytes ?? 0;
  const segment = await Segment.open(fileSystem, folder, baseOffset, bytes, false);
  await segment.syncIndexes().finally(() => segment.close());
}
