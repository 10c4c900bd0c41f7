import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import { type LogPosition, segmentBegin } from "../partition/partitionState.ts";
import { loadProducers } from "../producers/producerLoad.ts";
import type { ProducerState } from "../producers/producerState.ts";
import { scanPastDamage } from "../segment/damagedScan.ts";
import type { OffsetRange } from "../segment/lookalikes.ts";
import { baseOffsetsOf, logFileName } from "../segment/names.ts";
import { type AbortedEntry, loadAbortedIndex, replaceAbortedIndex } from "./abortedIndex.ts";

/** Of a damaged batch: by whoever reads it, or loads the producers to append. */
const saidElsewhere = (): void => undefined;

/**
 * After an end that was not clean, or a cut: what the indexes of aborted transactions say from `synced` on may be of batches that are gone,
 * or miss some that are there. So they are made again from the batches up to `end`. Returns the producers as of there.
 * @param isDamaged there are bad batches, which say nothing, not even by their headers.
 */
export async function recoverAborted(
  fileSystem: FileSystem,
  folder: string,
  synced: LogPosition,
  end: LogPosition,
  now: number,
  isDamaged = false,
): Promise<ProducerState> {
  const producers = await loadProducers(fileSystem, folder, synced, now, saidElsewhere);
  const bases = baseOffsetsOf(await fileSystem.list(folder));
  for (const [i, base] of bases.entries()) {
    if (base < synced.baseOffset || base > end.baseOffset) continue;
    const from = base === synced.baseOffset ? synced : segmentBegin(base);
    const upTo = base === end.baseOffset ? end.bytes : undefined;
    const { found, holes } = await abortedFrom(fileSystem, folder, from, upTo, bases[i + 1], producers, now, isDamaged);
    const indexed = await loadAbortedIndex(fileSystem, folder, base);
    const older = indexed?.filter(({ lastOffset }) => lastOffset < from.offset) ?? (await abortedBelow(fileSystem, folder, from, now));
    // where a marker is damaged only its entry is left; a snapshot may know its transaction as ended
    const ofHoles = indexed?.filter(({ lastOffset }) => holes.some((hole) => lastOffset >= hole.from && lastOffset < hole.before)) ?? [];
    const entries = [...older, ...found, ...ofHoles].toSorted((a, b) => a.lastOffset - b.lastOffset);
    // what is there already may be in the page cache only
    if (entries.length > older.length || indexed?.length !== older.length) await replaceAbortedIndex(fileSystem, folder, base, entries);
  }
  return producers;
}

/**
 * The entries of a segment below `end`, from the batches: for an index that is damaged. Reads from the last snapshot of the producers
 * before the segment on, which may be far.
 */
export async function abortedBelow(fileSystem: FileSystem, folder: string, end: LogPosition, now: number): Promise<AbortedEntry[]> {
  const begin = segmentBegin(end.baseOffset);
  const producers = await loadProducers(fileSystem, folder, begin, now, saidElsewhere);
  return (await abortedFrom(fileSystem, folder, begin, end.bytes, end.offset, producers, now)).found;
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
  isDamaged = false,
): Promise<{ readonly found: AbortedEntry[]; readonly holes: readonly OffsetRange[] }> {
  const found: AbortedEntry[] = [];
  const holes: OffsetRange[] = [];
  const file = await fileSystem.open(path.join(folder, logFileName(from.baseOffset)), "read");
  try {
    const to = bytes ?? (await file.bytes());
    const span = { from: from.bytes, to, baseOffset: from.baseOffset, fromOffset: from.offset, beforeOffset: nextBase };
    const visit = (buffer: Buffer, at: number): void => {
      const aborted = producers.applyBatch(buffer, at, now);
      if (aborted !== undefined) found.push(aborted);
    };
    await scanPastDamage(file, span, isDamaged, visit, ({ fromOffset, nextOffset }) => {
      // not the end of the last segment: what lay behind it was cut
      if (Number.isFinite(nextOffset)) holes.push({ from: fromOffset, before: nextOffset });
    });
  } finally {
    await file.close();
  }
  return { found, holes };
}
