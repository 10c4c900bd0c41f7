/**
 * Finds the end of a partition after an end that was not clean. Only the last segment can have a torn tail: each one before it was synced
 * before the next was created. So the last one is cut at its first bad batch, unless a batch behind it says that it was synced: then the
 * partition can be read up to there. Bad bytes in an older one are damage, found and reported where they are read. Damage is never cut.
 * What a failed write left in an older one (batches at and above the next segment's base offset) is no part of it. What is below the known
 * synced position is not read again; what lies behind it is written again.
 */
import path from "node:path";
import { assert, MillraceError } from "../../../base/errors.ts";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import type { Logger } from "../../../base/logger.ts";
import { baseOffsetAt, lastOffsetAt } from "../../../record/batchHeader.ts";
import { removeCleanedFiles } from "../compaction/cleanedSegment.ts";
import { nobodyReads, replaceSegments } from "../compaction/segmentReplacement.ts";
import { readSnapshot } from "../producers/snapshotFile.ts";
import { baseOffsetsOf, logFileName } from "../segment/names.ts";
import { scanSegment } from "../segment/segmentScan.ts";
import { isSyncedBehind } from "../segment/syncedBehind.ts";
import { recoverAborted } from "../transactions/abortedRecovery.ts";
import { type LogPosition, type PartitionState, segmentBegin } from "./partitionState.ts";

/** At a time. */
const WRITTEN_AGAIN_BYTES = 1024 * 1024;

export interface Recovered {
  readonly state: PartitionState;
  /** What was once synced is not whole any more: the partition can be read up to there, and takes nothing. */
  readonly damage: MillraceError | undefined;
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
  if (lastBase === undefined) {
    throw new MillraceError("LOG_CORRUPT", "A partition has no segment file.", {
      domain: "external",
      where: folder,
      hint: "Bring the folder back from a backup, or delete the topic.",
    });
  }
  const snapshot = await readSnapshot(fileSystem, folder, Number.MAX_SAFE_INTEGER, now);
  // a snapshot is written after its offset was synced: what is missing below either was not torn but lost
  const syncedOffset = Math.max(known?.synced.offset ?? 0, snapshot.offset);
  const knownBase = known !== undefined && bases.includes(known.synced.baseOffset);
  let corrupt: MillraceError | undefined;
  let end = knownBase ? known.synced : segmentBegin(lastBase);
  const indexed = end;
  for (const [i, base] of bases.entries()) {
    if (base < end.baseOffset) continue;
    if (base > end.baseOffset) end = segmentBegin(base);
    ({ end, corrupt } = await recoverSegment(fileSystem, folder, end, bases[i + 1], syncedOffset, logger));
  }
  await fileSystem.syncDirectory(folder);
  const startOffset = Math.max(known?.startOffset ?? 0, bases[0] as number);
  const damage = end.offset < syncedOffset ? lost(path.join(folder, logFileName(lastBase)), end, syncedOffset) : corrupt;
  const { openFrom } = await recoverAborted(fileSystem, folder, indexed, end, now);
  const state = {
    startOffset: Math.min(startOffset, end.offset),
    synced: end,
    openFrom,
    clean: false,
    cleanedTo: Math.min(known?.cleanedTo ?? 0, end.offset),
    replacing: undefined,
  };
  return { state, damage };
}

/** From the position on to the end of what is good in its segment. Cuts off what does not belong there. */
async function recoverSegment(
  fileSystem: FileSystem,
  folder: string,
  from: LogPosition,
  nextBase: number | undefined,
  syncedOffset: number,
  logger: Logger,
): Promise<{ readonly end: LogPosition; readonly corrupt: MillraceError | undefined }> {
  const name = path.join(folder, logFileName(from.baseOffset));
  const file = await fileSystem.open(name, "write");
  try {
    const fileBytes = await file.bytes();
    let offset = from.bytes <= fileBytes ? from.offset : from.baseOffset;
    let foreign = false;
    const { end, problem } = await scanSegment(file, from.bytes <= fileBytes ? from.bytes : 0, fileBytes, true, (bytes, at) => {
      const first = baseOffsetAt(bytes, at);
      // no checksum covers the offset; in the last segment, which is as it was written, one follows the other
      foreign = nextBase === undefined ? first !== offset : first < offset || first >= nextBase;
      if (foreign) return "stop";
      offset = lastOffsetAt(bytes, at) + 1;
      return undefined;
    });
    const wasSynced = nextBase === undefined && end < fileBytes && (await isSyncedBehind(file, end, fileBytes));
    const tornTail = nextBase === undefined && offset >= syncedOffset && !wasSynced;
    if (end < fileBytes && (tornTail || (foreign && offset === nextBase))) {
      logger.warn("cut the torn tail of a segment", { file: name, at: end, bytes: fileBytes - end, reason: problem?.message });
      await file.truncate(end);
    }
    // of what a killed process wrote nobody knows that it is not in the page cache only; a segment before the last one was synced
    if (nextBase === undefined) await writeAgain(file, Math.min(from.bytes, end), end);
    await file.sync();
    const corrupt = wasSynced ? damaged(name, end, problem) : undefined;
    return { end: { offset, baseOffset: from.baseOffset, bytes: end }, corrupt };
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

const damaged = (file: string, position: number, cause: unknown): MillraceError =>
  new MillraceError("LOG_CORRUPT", "A batch is damaged that was synced: so say the batches behind it.", {
    domain: "external",
    where: `${file} at byte ${position}`,
    cause,
    hint: "Bring the partition's folder back from a backup, or stop the node and cut it there with millrace log repair --cut-damage.",
  });

const lost = (file: string, end: LogPosition, syncedOffset: number): MillraceError =>
  new MillraceError("LOG_CORRUPT", `Offsets ${end.offset} to ${syncedOffset - 1} were synced and are not readable any more.`, {
    domain: "external",
    where: `${file} at byte ${end.bytes}`,
    hint: "Bring the partition's folder back from a backup, or stop the node and cut it there with millrace log repair.",
  });
