/**
 * Opens a partition's folder after any end, clean or not. Only the last segment can have a torn tail: each one before it was synced
 * before the next was created. So the last one is read with its checksums and cut at its first bad batch; bad bytes
 * in an older one are damage, found and reported where they are read, and never cut.
 */
import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import type { File, FileSystem } from "../../base/fileSystem.ts";
import type { Logger } from "../../base/logger.ts";
import { baseOffsetAt, baseSequenceAt, countAt, lastOffsetAt, producerEpochAt, producerIdAt } from "../../record/batchHeader.ts";
import { baseOffsetsOf, logFileName } from "./names.ts";
import { INDEX_INTERVAL_BYTES, loadIndex, OffsetIndex } from "./offsetIndex.ts";
import type { ProducerState } from "./producerState.ts";
import { Segment } from "./segment.ts";
import { scanSegment } from "./segmentScan.ts";
import { readSnapshot } from "./snapshotFile.ts";

export interface Recovered {
  readonly active: Segment;
  readonly startOffset: number;
  readonly nextOffset: number;
  readonly producers: ProducerState;
  /** What was once synced is not whole any more: the partition can be read up to there, and takes nothing. */
  readonly damage: MillraceError | undefined;
}

export async function recoverPartition(fileSystem: FileSystem, folder: string, logger: Logger): Promise<Recovered> {
  const bases = baseOffsetsOf(await fileSystem.list(folder));
  const activeBase = bases.at(-1);
  if (activeBase === undefined) {
    throw new MillraceError("LOG_CORRUPT", "A partition has no segment file.", {
      domain: "external",
      where: folder,
      hint: "Bring the folder back from a backup, or delete the topic.",
    });
  }
  const snapshot = await readSnapshot(fileSystem, folder);
  const producers = snapshot.state;
  const apply = (bytes: Buffer, at: number): void => {
    const id = producerIdAt(bytes, at);
    if (id < 0n || baseOffsetAt(bytes, at) < snapshot.offset) return;
    producers.applied(id, producerEpochAt(bytes, at), baseSequenceAt(bytes, at), countAt(bytes, at));
  };
  for (const [i, base] of bases.slice(0, -1).entries()) {
    await checkRolled(fileSystem, folder, base, snapshot.offset < (bases[i + 1] as number) ? apply : undefined, logger);
  }
  const { active, nextOffset, damage } = await recoverActive(fileSystem, folder, activeBase, snapshot.offset, apply, logger);
  // what a killed process wrote may be in the page cache only, and its names too
  await active.sync();
  await fileSystem.syncDirectory(folder);
  return { active, startOffset: bases[0] as number, nextOffset, producers, damage };
}

/** Makes sure that a rolled segment has an index that fits; reads the producers out of it if no snapshot tells them. */
async function checkRolled(
  fileSystem: FileSystem,
  folder: string,
  base: number,
  apply: ((bytes: Buffer, at: number) => void) | undefined,
  logger: Logger,
): Promise<void> {
  const file = await fileSystem.open(path.join(folder, logFileName(base)), "read");
  try {
    const logBytes = await file.bytes();
    const entries = await loadIndex(fileSystem, folder, base, logBytes);
    const indexed = entries?.at(-1)?.position ?? 0;
    const largestGap = await largestStep(file, indexed, logBytes);
    if (entries === undefined || largestGap >= INDEX_INTERVAL_BYTES) {
      logger.warn("rebuilding the index of a segment", { folder, baseOffset: base });
      await rebuildIndex(fileSystem, folder, base, file, logBytes);
    }
    if (apply !== undefined) {
      await scanSegment(file, 0, logBytes, false, (bytes, at) => {
        apply(bytes, at);
        return undefined;
      });
    }
  } finally {
    await file.close();
  }
}

/** How far from `from` the last batch begins that would have its own entry, if the index went no further. */
async function largestStep(file: File, from: number, to: number): Promise<number> {
  let last = from;
  await scanSegment(file, from, to, false, (_bytes, _at, position) => {
    last = position;
    return position - from >= INDEX_INTERVAL_BYTES ? "stop" : undefined;
  });
  return last - from;
}

async function rebuildIndex(fileSystem: FileSystem, folder: string, base: number, file: File, logBytes: number): Promise<void> {
  const index = await OffsetIndex.create(fileSystem, folder, base);
  await scanSegment(file, 0, logBytes, false, (bytes, at, position) => {
    index.add(baseOffsetAt(bytes, at), position);
    return undefined;
  });
  await index.write();
  await index.close();
}

async function recoverActive(
  fileSystem: FileSystem,
  folder: string,
  base: number,
  snapshotOffset: number,
  apply: (bytes: Buffer, at: number) => void,
  logger: Logger,
): Promise<{ active: Segment; nextOffset: number; damage: MillraceError | undefined }> {
  const name = path.join(folder, logFileName(base));
  const file = await fileSystem.open(name, "write");
  const index = await OffsetIndex.create(fileSystem, folder, base);
  const fileBytes = await file.bytes();
  let nextOffset = base;
  const { end, problem } = await scanSegment(file, 0, fileBytes, true, (bytes, at, position) => {
    const first = baseOffsetAt(bytes, at);
    if (first < nextOffset) return "stop";
    nextOffset = lastOffsetAt(bytes, at) + 1;
    index.add(first, position);
    apply(bytes, at);
    return undefined;
  });
  await index.write();
  const active = Segment.recovered(base, file, index, end);
  // a snapshot is written after its offset was synced: what is missing below it was not torn but lost
  if (nextOffset < snapshotOffset) return { active, nextOffset, damage: lost(name, end, nextOffset, snapshotOffset) };
  if (end < fileBytes) {
    logger.warn("cut the torn tail of a segment", { file: name, at: end, bytes: fileBytes - end, reason: problem?.message });
    await active.cutTo(end);
  }
  return { active, nextOffset, damage: undefined };
}

const lost = (file: string, end: number, nextOffset: number, snapshotOffset: number): MillraceError =>
  new MillraceError("LOG_CORRUPT", `Offsets ${nextOffset} to ${snapshotOffset - 1} were synced and are not readable any more.`, {
    domain: "external",
    where: `${file} at byte ${end}`,
    hint: "Bring the partition's folder back from a backup, or delete the topic.",
  });
