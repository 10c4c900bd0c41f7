import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import { baseOffsetAt } from "../../../record/batchHeader.ts";
import type { LogPosition } from "../partition/partitionState.ts";
import { loadProducers } from "../producers/producerLoad.ts";
import type { ProducerState } from "../producers/producerState.ts";
import { baseOffsetsOf, logFileName } from "../segment/names.ts";
import { scanSegment } from "../segment/segmentScan.ts";
import { type AbortedEntry, loadAbortedIndex, replaceAbortedIndex } from "./abortedIndex.ts";

/**
 * After an end that was not clean, or a cut: what the indexes of aborted transactions say from `synced` on may be of batches that are gone,
 * or miss some that are there. So they are made again from the batches up to `end`. Returns the producers as of there.
 */
export async function recoverAborted(
  fileSystem: FileSystem,
  folder: string,
  synced: LogPosition,
  end: LogPosition,
  now: number,
): Promise<ProducerState> {
  const producers = await loadProducers(fileSystem, folder, synced, now);
  const bases = baseOffsetsOf(await fileSystem.list(folder));
  for (const [i, base] of bases.entries()) {
    if (base < synced.baseOffset || base > end.baseOffset) continue;
    const from = base === synced.baseOffset ? synced : { offset: base, baseOffset: base, bytes: 0 };
    const upTo = base === end.baseOffset ? end.bytes : undefined;
    const found = await abortedFrom(fileSystem, folder, from, upTo, bases[i + 1], producers, now);
    const indexed = await loadAbortedIndex(fileSystem, folder, base);
    const older = indexed?.filter(({ lastOffset }) => lastOffset < from.offset) ?? (await abortedBelow(fileSystem, folder, from, now));
    // what is there already may be in the page cache only
    if (found.length > 0 || indexed?.length !== older.length) await replaceAbortedIndex(fileSystem, folder, base, [...older, ...found]);
  }
  return producers;
}

/**
 * The entries of a segment below `end`, from the batches: for an index that is damaged. Reads from the last snapshot of the producers
 * before the segment on, which may be far.
 */
export async function abortedBelow(fileSystem: FileSystem, folder: string, end: LogPosition, now: number): Promise<AbortedEntry[]> {
  const begin = { offset: end.baseOffset, baseOffset: end.baseOffset, bytes: 0 };
  const producers = await loadProducers(fileSystem, folder, begin, now);
  return abortedFrom(fileSystem, folder, begin, end.bytes, end.offset, producers, now);
}

/** Makes the index of a segment again if it can't be right; false if it may be. */
export async function mendAbortedIndex(fileSystem: FileSystem, folder: string, end: LogPosition, now: number): Promise<boolean> {
  if ((await loadAbortedIndex(fileSystem, folder, end.baseOffset)) !== undefined) return false;
  await replaceAbortedIndex(fileSystem, folder, end.baseOffset, await abortedBelow(fileSystem, folder, end, now));
  return true;
}

/** Where a segment ends that is not written any more. */
export async function endOfSegment(fileSystem: FileSystem, folder: string, baseOffset: number): Promise<LogPosition> {
  const offset = baseOffsetsOf(await fileSystem.list(folder)).find((other) => other > baseOffset) ?? Number.MAX_SAFE_INTEGER;
  const bytes = (await fileSystem.stat(path.join(folder, logFileName(baseOffset))))?.bytes ?? 0;
  return { offset, baseOffset, bytes };
}

/** Applies the batches of one segment to the producers as of `from`. `bytes` undefined: to the end of the file. */
async function abortedFrom(
  fileSystem: FileSystem,
  folder: string,
  from: LogPosition,
  bytes: number | undefined,
  nextBase = Number.POSITIVE_INFINITY,
  producers: ProducerState,
  now: number,
): Promise<AbortedEntry[]> {
  const found: AbortedEntry[] = [];
  const file = await fileSystem.open(path.join(folder, logFileName(from.baseOffset)), "read");
  try {
    await scanSegment(file, from.bytes, bytes ?? (await file.bytes()), false, (buffer, at) => {
      if (baseOffsetAt(buffer, at) >= nextBase) return "stop";
      const aborted = producers.applyBatch(buffer, at, now);
      if (aborted !== undefined) found.push(aborted);
      return undefined;
    });
  } finally {
    await file.close();
  }
  return found;
}
