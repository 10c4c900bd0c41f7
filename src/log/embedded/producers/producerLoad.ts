import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import { baseOffsetAt } from "../../../record/batchHeader.ts";
import type { LogPosition } from "../partition/partitionState.ts";
import { baseOffsetsOf, logFileName } from "../segment/names.ts";
import { scanSegment } from "../segment/segmentScan.ts";
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

/** The producers as of an offset that is at or above `base`, where the last segment begins, and below which all is surely on the disk. */
export async function durableProducers(fileSystem: FileSystem, folder: string, base: number, now: number): Promise<ProducerState> {
  const { offset, state } = await whileFilesGo(() => readSnapshot(fileSystem, folder, Number.MAX_SAFE_INTEGER, now));
  return offset >= base ? state : loadProducers(fileSystem, folder, { offset: base, baseOffset: base, bytes: 0 }, now);
}

/**
 * The producers as of `end`, from the newest snapshot before it and the batches after that.
 * @param now for batches of which nobody knows any more when they came.
 */
export function loadProducers(fileSystem: FileSystem, folder: string, end: LogPosition, now: number): Promise<ProducerState> {
  return whileFilesGo(() => readProducers(fileSystem, folder, end, now));
}

/**
 * Before what lies below `base` goes, where a segment begins: the snapshot there is made again if it is damaged, or not there (as an older
 * release may have left it). False if it is whole.
 */
export async function mendSnapshot(fileSystem: FileSystem, folder: string, base: number, now: number): Promise<boolean> {
  const { offset } = await whileFilesGo(() => readSnapshot(fileSystem, folder, base, now));
  if (offset === base) return false;
  const producers = await loadProducers(fileSystem, folder, { offset: base, baseOffset: base, bytes: 0 }, now);
  await putSnapshot(fileSystem, folder, base, producers, true);
  return true;
}

async function readProducers(fileSystem: FileSystem, folder: string, end: LogPosition, now: number): Promise<ProducerState> {
  const snapshot = await readSnapshot(fileSystem, folder, end.offset, now);
  if (snapshot.offset === end.offset) return snapshot.state;
  const bases = baseOffsetsOf(await fileSystem.list(folder));
  for (const [i, base] of bases.entries()) {
    const nextBase = bases[i + 1] ?? Number.POSITIVE_INFINITY;
    if (nextBase <= snapshot.offset || base > end.baseOffset) continue;
    const file = await fileSystem.open(path.join(folder, logFileName(base)), "read");
    try {
      await scanSegment(file, 0, base === end.baseOffset ? end.bytes : await file.bytes(), false, (bytes, at) => {
        const offset = baseOffsetAt(bytes, at);
        if (offset >= nextBase) return "stop";
        if (offset >= snapshot.offset) snapshot.state.applyBatch(bytes, at, now);
        return undefined;
      });
    } finally {
      await file.close();
    }
  }
  return snapshot.state;
}
