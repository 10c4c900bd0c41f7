import path from "node:path";
import type { FileSystem } from "../../base/fileSystem.ts";
import { baseOffsetAt } from "../../record/batchHeader.ts";
import { baseOffsetsOf, logFileName } from "./names.ts";
import type { LogPosition } from "./partitionState.ts";
import type { ProducerState } from "./producerState.ts";
import { scanSegment } from "./segmentScan.ts";
import { readSnapshot } from "./snapshotFile.ts";

/**
 * The producers as of `end`, from the newest snapshot before it and the batches after that.
 * @param now for batches of which nobody knows any more when they came.
 */
export async function loadProducers(fileSystem: FileSystem, folder: string, end: LogPosition, now: number): Promise<ProducerState> {
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
