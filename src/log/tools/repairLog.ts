import path from "node:path";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { KeyedStore } from "../contract/keyedStore.ts";
import { partitionEntries } from "../embedded/partition/partitionState.ts";
import { rebuildIndexes } from "../embedded/segment/indexCheck.ts";
import { snapshotFileName, snapshotOffsetsOf } from "../embedded/segment/names.ts";
import { replaceAbortedIndex } from "../embedded/transactions/abortedIndex.ts";
import { abortedBelow, endOfSegment } from "../embedded/transactions/abortedRecovery.ts";
import { type LogProblem, verifyLog } from "./verifyLog.ts";

export interface Repaired {
  readonly done: readonly string[];
  /** What it does not touch. */
  readonly left: readonly LogProblem[];
}

/**
 * Makes indexes again, and cuts the end of a last segment at its first bad batch, also where it had been synced: what lies behind is
 * lost, which is why a node does not do it by itself. Bad bytes with good ones behind them are left alone. The directory must be locked.
 */
export async function repairLog(
  fileSystem: FileSystem,
  directory: string,
  catalog: KeyedStore,
  progress: (bytes: number, bytesTotal: number) => void,
): Promise<Repaired> {
  const { problems } = await verifyLog(fileSystem, directory, progress);
  const done: string[] = [];
  for (const { kind, file, position } of problems) {
    const folder = path.dirname(file);
    const base = Number(path.basename(file, ".log"));
    if (kind === "tail") {
      await cut(fileSystem, file, position);
      // both say that there was more: without them the end is found in the files
      await catalog.change(partitionEntries(new Map([[path.basename(folder), null]])));
      await removeSnapshots(fileSystem, folder);
      done.push(`cut ${file} at byte ${position}`);
    } else if (kind === "index") {
      await rebuildIndexes(fileSystem, folder, base);
      const end = await endOfSegment(fileSystem, folder, base);
      await replaceAbortedIndex(fileSystem, folder, base, await abortedBelow(fileSystem, folder, end, 0));
      done.push(`made the indexes of ${file} again`);
    }
  }
  return { done, left: problems.filter(({ kind }) => kind === "batch" || kind === "missing") };
}

async function cut(fileSystem: FileSystem, name: string, bytes: number): Promise<void> {
  const file = await fileSystem.open(name, "write");
  try {
    await file.truncate(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function removeSnapshots(fileSystem: FileSystem, folder: string): Promise<void> {
  for (const offset of snapshotOffsetsOf(await fileSystem.list(folder))) {
    await fileSystem.removeFile(path.join(folder, snapshotFileName(offset)));
  }
  await fileSystem.syncDirectory(folder);
}
