import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import type { Logger } from "../../../base/logger.ts";
import { type LogPosition, segmentBegin } from "../partition/partitionState.ts";
import { loadProducers } from "../producers/producerLoad.ts";
import type { ProducerState } from "../producers/producerState.ts";
import { scanPastDamage } from "../segment/damagedScan.ts";
import type { OffsetRange } from "../segment/lookalikes.ts";
import { baseOffsetsOf, logFileName } from "../segment/names.ts";
import {
  ABORTED_ENTRY_BYTES,
  type AbortedDamage,
  type AbortedEntry,
  joinedAborted,
  loadAbortedIndex,
  replaceAbortedIndex,
} from "./abortedIndex.ts";

/** Of a damaged batch: by whoever reads it, or loads the producers to append. */
const saidElsewhere = (): void => undefined;

const sayDamaged = (logger: Logger, file: string, { position, problem }: AbortedDamage): void =>
  logger.warn("an index of aborted transactions is damaged: it is made again from the batches", { file, at: position, reason: problem });

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
  logger: Logger,
  isDamaged = false,
): Promise<ProducerState> {
  const producers = await loadProducers(fileSystem, folder, synced, now, saidElsewhere);
  const bases = baseOffsetsOf(await fileSystem.list(folder));
  for (const [i, base] of bases.entries()) {
    if (base < synced.baseOffset || base > end.baseOffset) continue;
    const from = base === synced.baseOffset ? synced : segmentBegin(base);
    const upTo = base === end.baseOffset ? end.bytes : undefined;
    const { found, holes } = await abortedFrom(fileSystem, folder, from, upTo, bases[i + 1], producers, now, isDamaged);
    const { entries: indexed, damage, file } = await loadAbortedIndex(fileSystem, folder, base);
    const whole = indexed.filter(({ lastOffset }) => lastOffset < from.offset);
    const older = damage === undefined ? whole : joinedAborted(whole, await abortedBelow(fileSystem, folder, from, now));
    // what was not synced may be torn
    if (damage !== undefined && damage.position < older.length * ABORTED_ENTRY_BYTES) sayDamaged(logger, file, damage);
    // where a marker is damaged only its entry is left; a snapshot may know its transaction as ended
    const ofHoles = indexed.filter(({ lastOffset }) => holes.some((hole) => lastOffset >= hole.from && lastOffset < hole.before));
    const entries = [...older, ...found, ...ofHoles].toSorted((a, b) => a.lastOffset - b.lastOffset);
    // what is there already may be in the page cache only
    const isSame = damage === undefined && entries.length === older.length && indexed.length === older.length;
    if (!isSame) await replaceAbortedIndex(fileSystem, folder, base, entries);
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

/** The entries of a segment below `end`, where the index is damaged by the batches' word. */
export async function trueAborted(
  fileSystem: FileSystem,
  folder: string,
  end: LogPosition,
  now: number,
): Promise<{ readonly entries: readonly AbortedEntry[]; readonly damage: AbortedDamage | undefined; readonly file: string }> {
  const { entries, damage, file } = await loadAbortedIndex(fileSystem, folder, end.baseOffset);
  if (damage === undefined) return { entries, damage, file };
  return { entries: joinedAborted(entries, await abortedBelow(fileSystem, folder, end, now)), damage, file };
}

/** Makes the index of a segment, which nobody writes, again where it is damaged. */
export async function mendAbortedIndex(
  fileSystem: FileSystem,
  folder: string,
  end: LogPosition,
  now: number,
  logger: Logger,
): Promise<void> {
  const { entries, damage, file } = await trueAborted(fileSystem, folder, end, now);
  if (damage === undefined) return;
  sayDamaged(logger, file, damage);
  await replaceAbortedIndex(fileSystem, folder, end.baseOffset, entries);
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
