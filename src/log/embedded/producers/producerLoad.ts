import path from "node:path";
import type { MillraceError } from "../../../base/errors.ts";
import type { FileSystem } from "../../../base/fileSystem.ts";
import type { Logger } from "../../../base/logger.ts";
import { baseOffsetAt } from "../../../record/batchHeader.ts";
import { segmentCorrupt } from "../partition/partitionErrors.ts";
import { type LogPosition, segmentBegin } from "../partition/partitionState.ts";
import { seekOffset } from "../reading/segmentSeek.ts";
import { scanPastDamage } from "../segment/damagedScan.ts";
import { baseOffsetsOf, logFileName } from "../segment/names.ts";
import type { ProducerState } from "./producerState.ts";
import { putSnapshot, readSnapshot } from "./snapshotFile.ts";

/** How often a file may go between the look at the folder and the look at the file. */
const LOOKS_MAX = 10;

/** Snapshots and compacted segments go in the background: then it is looked again. */
export async function whileFilesGo<T>(look: () => Promise<T>): Promise<T> {
  for (let looks = 1; ; looks++) {
    try {
      return await look();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || looks === LOOKS_MAX) throw error;
    }
  }
}

/** Told of each damaged place: what its batches said of their producers is not known. */
export type SayDamaged = (error: MillraceError) => void;

export const sayDamagedTo =
  (logger: Logger): SayDamaged =>
  (error) =>
    logger.error("a damaged batch says nothing of its producer any more: what it appends next may be refused, or kept twice", {
      error: error.toText(),
    });

/** The producers as of an offset that is at or above `base`, where the last segment begins, and below which all is surely on the disk. */
export async function durableProducers(
  fileSystem: FileSystem,
  folder: string,
  base: number,
  now: number,
  say: SayDamaged,
): Promise<ProducerState> {
  const { offset, state } = await whileFilesGo(() => readSnapshot(fileSystem, folder, Number.MAX_SAFE_INTEGER, now));
  return offset >= base ? state : loadProducers(fileSystem, folder, segmentBegin(base), now, say);
}

/**
 * The producers as of `end`, from the newest snapshot before it and the batches after that. What damaged ones said of them is not known.
 * @param now for batches of which nobody knows any more when they came.
 */
export async function loadProducers(
  fileSystem: FileSystem,
  folder: string,
  end: LogPosition,
  now: number,
  say: SayDamaged,
): Promise<ProducerState> {
  const { producers, damaged } = await whileFilesGo(() => readProducers(fileSystem, folder, end, now));
  for (const error of damaged) say(error);
  return producers;
}

/**
 * Before what lies below `base` goes, where a segment begins: the snapshot there is made again if it is damaged, or not there (as an older
 * release may have left it). False if it is whole.
 */
export async function mendSnapshot(fileSystem: FileSystem, folder: string, base: number, now: number, say: SayDamaged): Promise<boolean> {
  const { offset } = await whileFilesGo(() => readSnapshot(fileSystem, folder, base, now));
  if (offset === base) return false;
  const producers = await loadProducers(fileSystem, folder, segmentBegin(base), now, say);
  await putSnapshot(fileSystem, folder, base, producers, true);
  return true;
}

interface ReadProducers {
  readonly producers: ProducerState;
  readonly damaged: readonly MillraceError[];
}

async function readProducers(fileSystem: FileSystem, folder: string, end: LogPosition, now: number): Promise<ReadProducers> {
  const { offset: known, state: producers } = await readSnapshot(fileSystem, folder, end.offset, now);
  const damaged: MillraceError[] = [];
  const bases = known === end.offset ? [] : baseOffsetsOf(await fileSystem.list(folder));
  for (const [i, base] of bases.entries()) {
    const nextBase = bases[i + 1] ?? Number.POSITIVE_INFINITY;
    if (nextBase <= known || base > end.baseOffset) continue;
    const name = path.join(folder, logFileName(base));
    const file = await fileSystem.open(name, "read");
    try {
      const to = base === end.baseOffset ? end.bytes : await file.bytes();
      const beforeOffset = Math.min(nextBase, end.offset);
      const segment = { baseOffset: base, file };
      const from = known <= base ? 0 : (await seekOffset(fileSystem, folder, segment, known, to, beforeOffset)).position;
      const span = { from, to, baseOffset: base, fromOffset: base, beforeOffset };
      await scanPastDamage(
        file,
        span,
        true,
        (bytes, at) => {
          if (baseOffsetAt(bytes, at) >= known) producers.applyBatch(bytes, at, now);
        },
        ({ position, cause, nextOffset }) => {
          if (nextOffset > known) damaged.push(segmentCorrupt(name, position, cause));
        },
      );
    } finally {
      await file.close();
    }
  }
  return { producers, damaged };
}
