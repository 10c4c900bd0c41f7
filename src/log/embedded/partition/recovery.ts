/**
 * Finds the end of a partition after an end that was not clean. Only the last segment can have a torn tail: each one before it was synced
 * before the next was created. So the last one is cut at its first bad batch, unless something says that it was synced: a batch behind it, a
 * snapshot or the catalog. Such damage is never cut: it is logged, what lies behind it is served, and appends go on in a new segment, so
 * that nothing writes the damaged file again. What a failed write left in an older segment (batches at and above the next one's
 * base offset) is no part of it. What is below the known synced position is not read again; what lies behind it is written again.
 */
import path from "node:path";
import { assert, MillraceError } from "../../../base/errors.ts";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import type { Logger } from "../../../base/logger.ts";
import { removeCleanedFiles } from "../compaction/cleanedSegment.ts";
import { nobodyReads, replaceSegments } from "../compaction/segmentReplacement.ts";
import type { ProducerState } from "../producers/producerState.ts";
import { readSnapshot, writeSnapshot } from "../producers/snapshotFile.ts";
import type { BatchPlace } from "../segment/behindDamage.ts";
import { baseOffsetsOf, logFileName } from "../segment/names.ts";
import { Segment } from "../segment/segment.ts";
import { recoverAborted } from "../transactions/abortedRecovery.ts";
import { type LogPosition, type PartitionState, segmentBegin } from "./partitionState.ts";
import { logHole, RecoveryWalk } from "./recoveryWalk.ts";

/** At a time. */
const WRITTEN_AGAIN_BYTES = 1024 * 1024;

export interface Recovered {
  readonly state: PartitionState;
  /**
   * Whole batches that were synced are not there, or nobody can say where it goes on: the partition can be read up to there, and takes
   * nothing.
   */
  readonly damage: MillraceError | undefined;
}

interface RecoveredSegment {
  readonly end: LogPosition;
  /** It has bad bytes that were synced once, or may have been. */
  readonly isDamaged: boolean;
  /** No batch behind them in the segment says where they end. */
  readonly endsInHole: boolean;
  /** There are bad bytes of which nobody can say whether they were synced, or where it goes on behind them. */
  readonly unclear: MillraceError | undefined;
}

export async function recoverPartition(
  fileSystem: FileSystem,
  folder: string,
  known: PartitionState | undefined,
  logger: Logger,
  now: number,
): Promise<Recovered> {
  if (known?.replacing !== undefined) await replaceSegments(fileSystem, folder, known.replacing, nobodyReads);
  await removeCleanedFiles(fileSystem, folder);
  const bases = baseOffsetsOf(await fileSystem.list(folder));
  const lastBase = bases.at(-1);
  if (lastBase === undefined) throw noSegment(folder);
  const { promisedOffset, syncedOffset, indexed } = await knownEnd(fileSystem, folder, known, bases, now);
  let end = indexed;
  let last: RecoveredSegment | undefined;
  let isDamaged = false;
  for (const [i, base] of bases.entries()) {
    if (base < end.baseOffset) continue;
    if (base > end.baseOffset) end = segmentBegin(base);
    last = await recoverSegment(fileSystem, folder, end, bases[i + 1], syncedOffset, logger);
    isDamaged ||= last.isDamaged;
    ({ end } = last);
  }
  await fileSystem.syncDirectory(folder);
  const isLost = end.offset < promisedOffset && last?.endsInHole === false;
  const damage = last?.unclear ?? (isLost ? lost(path.join(folder, logFileName(lastBase)), end, promisedOffset) : undefined);
  const producers = await recoverAborted(fileSystem, folder, indexed, end, now, logger, isDamaged);
  if (last?.isDamaged && damage === undefined)
    end = await beginBehind(fileSystem, folder, end, Math.max(end.offset, syncedOffset), producers);
  const startOffset = Math.max(known?.startOffset ?? 0, bases[0] as number);
  const state = {
    startOffset: Math.min(startOffset, end.offset),
    synced: end,
    openFrom: producers.openFrom,
    clean: false,
    cleanedTo: Math.min(known?.cleanedTo ?? 0, end.offset),
    replacing: undefined,
  };
  return { state, damage };
}

/** What is known of a partition's end before its batches are read: the same for a start and for those who tell what it will do. */
export interface KnownEnd {
  /** What is missing below was not torn but lost. */
  readonly promisedOffset: number;
  /** Bad bytes below were synced. */
  readonly syncedOffset: number;
  /** From here on the batches are read. */
  readonly indexed: LogPosition;
}

/** @param bases of the segments, at least one. */
export async function knownEnd(
  fileSystem: FileSystem,
  folder: string,
  known: PartitionState | undefined,
  bases: readonly number[],
  now: number,
): Promise<KnownEnd> {
  const snapshot = await readSnapshot(fileSystem, folder, Number.MAX_SAFE_INTEGER, now);
  // a snapshot is written after its offset was synced: what is missing below either was not torn but lost
  const promisedOffset = Math.max(known?.synced.offset ?? 0, snapshot.offset);
  // so are records before they are deleted; but an operator may have cut what the start lies behind
  const syncedOffset = Math.max(promisedOffset, known?.startOffset ?? 0);
  const indexed = known !== undefined && bases.includes(known.synced.baseOffset) ? known.synced : segmentBegin(bases.at(-1) as number);
  return { promisedOffset, syncedOffset, indexed };
}

interface SegmentEnd extends Omit<RecoveredSegment, "end"> {
  readonly fileBytes: number;
  readonly end: BatchPlace;
  /** What lies behind the end is torn, or no part of the segment: a start cuts it. */
  readonly isCut: boolean;
  /** Why it ends there. */
  readonly problem: MillraceError | undefined;
}

/** From the position on to the end of what is good in its segment. Only reads, so that others can tell what a start will do. */
export async function findSegmentEnd(
  file: File,
  name: string,
  from: LogPosition,
  nextBase: number | undefined,
  syncedOffset: number,
  logger: Logger,
): Promise<SegmentEnd> {
  const fileBytes = await file.bytes();
  const isLast = nextBase === undefined;
  const start = from.bytes <= fileBytes ? { position: from.bytes, offset: from.offset } : { position: 0, offset: from.baseOffset };
  const walk = new RecoveryWalk(file, name, fileBytes, from.baseOffset, nextBase, syncedOffset, logger);
  const { position, offset, problem, foreign, unclear } = await walk.from(start);
  const wholeUpTo = nextBase ?? syncedOffset;
  // in an older segment it is clear where it ends at the latest
  const endsInHole = !(isLast && unclear !== undefined) && position < fileBytes && offset < wholeUpTo;
  if (endsInHole) logHole(logger, name, { position, offset }, { position: fileBytes, offset: wholeUpTo }, unclear ?? problem, !isLast);
  const isTorn = isLast && offset >= syncedOffset && unclear === undefined;
  const isCut = position < fileBytes && (isTorn || (foreign && offset === nextBase));
  const isDamaged = walk.holes > 0 || endsInHole || unclear !== undefined;
  return { fileBytes, end: { position, offset }, isCut, problem, isDamaged, endsInHole, unclear };
}

/** Cuts off what does not belong to the segment, and makes all that does durable. */
async function recoverSegment(
  fileSystem: FileSystem,
  folder: string,
  from: LogPosition,
  nextBase: number | undefined,
  syncedOffset: number,
  logger: Logger,
): Promise<RecoveredSegment> {
  const name = path.join(folder, logFileName(from.baseOffset));
  const file = await fileSystem.open(name, "write");
  try {
    const { fileBytes, end: found, isCut, problem, ...damage } = await findSegmentEnd(file, name, from, nextBase, syncedOffset, logger);
    const { position: end, offset } = found;
    if (isCut) {
      logger.warn("cut the torn tail of a segment", { file: name, at: end, bytes: fileBytes - end, reason: problem?.message });
      await file.truncate(end);
    }
    // of what a killed process wrote nobody knows that it is not in the page cache only; a segment before the last one was synced
    if (nextBase === undefined) await writeAgain(file, Math.min(from.bytes, end), end);
    await file.sync();
    return { end: { offset, baseOffset: from.baseOffset, bytes: end }, ...damage };
  } finally {
    await file.close();
  }
}

/** After a sync that failed, pages that are in memory only count as clean, so that a sync alone would not write them. */
async function writeAgain(file: File, from: number, to: number): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(WRITTEN_AGAIN_BYTES, to - from));
  for (let at = from; at < to; ) {
    const read = await file.read(buffer, 0, Math.min(buffer.length, to - at), at);
    assert(read > 0, `${to - at} bytes of a segment were read a moment ago`);
    await file.write(buffer, 0, read, at);
    at += read;
  }
}

/**
 * The segment with the damage is rolled: as any that is not written any more it is whole on the disk, with its indexes, before the next one has
 * its name, and that begins with a snapshot. A crash on the way leaves it the last one, and the next start does all of this again.
 */
async function beginBehind(
  fileSystem: FileSystem,
  folder: string,
  end: LogPosition,
  offset: number,
  producers: ProducerState,
): Promise<LogPosition> {
  const damaged = await Segment.open(fileSystem, folder, end.baseOffset, end.bytes, false, true);
  await damaged.syncIndexes().finally(() => damaged.close());
  await writeSnapshot(fileSystem, folder, offset, producers, offset, true);
  const next = await Segment.create(fileSystem, folder, offset);
  await next.close();
  await fileSystem.syncDirectory(folder);
  return segmentBegin(offset);
}

const noSegment = (folder: string): MillraceError =>
  new MillraceError("LOG_CORRUPT", "A partition has no segment file.", {
    domain: "external",
    where: folder,
    hint: "Bring the folder back from a backup, or delete the topic.",
  });

const lost = (file: string, end: LogPosition, syncedOffset: number): MillraceError =>
  new MillraceError("LOG_CORRUPT", `Offsets ${end.offset} to ${syncedOffset - 1} were synced and are not readable any more.`, {
    domain: "external",
    where: `${file} at byte ${end.bytes}`,
    hint: "Bring the partition's folder back from a backup, or stop the node and cut it there with millrace log repair.",
  });
