import path from "node:path";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { KeyedStore } from "../contract/keyedStore.ts";
import { PartitionStates, segmentBegin } from "../embedded/partition/partitionState.ts";
import { rebuildIndexes } from "../embedded/segment/indexCheck.ts";
import {
  abortedIndexFileName,
  baseOffsetsOf,
  indexFileName,
  logFileName,
  snapshotFileName,
  snapshotOffsetsOf,
  timeIndexFileName,
} from "../embedded/segment/names.ts";
import { replaceAbortedIndex } from "../embedded/transactions/abortedIndex.ts";
import { abortedBelow, endOfSegment } from "../embedded/transactions/abortedRecovery.ts";
import type { LogProblem } from "./logProblem.ts";
import { partitionFolders, verifyLog } from "./verifyLog.ts";

export interface RepairOptions {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly catalog: KeyedStore;
  readonly progress: (bytes: number, bytesTotal: number) => void;
  /** Also cut where good batches lie behind the bad one: the partition ends there, and loses all that follows. */
  readonly cutDamage: boolean;
}

export interface Repaired {
  readonly done: readonly string[];
  /** What it does not touch. */
  readonly left: readonly LogProblem[];
}

/**
 * Makes indexes again, and cuts the end of a last segment at its first bad batch, also where it had been synced: what lies behind is
 * lost, which is why a node does not do it by itself. Bad bytes with good ones behind them are left alone without `cutDamage`. The
 * directory must be locked.
 */
export async function repairLog({ fileSystem, directory, catalog, progress, cutDamage }: RepairOptions): Promise<Repaired> {
  const { problems } = await verifyLog(fileSystem, directory, progress);
  const done: string[] = [];
  const left: LogProblem[] = [];
  const ended = new Set<string>();
  const lost = new Set(problems.filter(({ kind }) => kind === "lost").map(({ file }) => path.dirname(file)));
  for (const problem of problems) {
    const { kind, file, position } = problem;
    if (kind === "lost" || kind === "state") continue; // below; a start makes the latter again
    const folder = path.dirname(file);
    if (ended.has(folder)) continue; // what it was found in is gone
    const base = Number(path.basename(file, ".log"));
    if (kind === "tail" || (kind === "batch" && cutDamage)) {
      const removed = await endAt(fileSystem, catalog, folder, base, position);
      ended.add(folder);
      done.push(`cut ${file} at byte ${position}`, ...removed.map((name) => `removed ${name}`));
    } else if (kind === "index") {
      await rebuildIndexes(fileSystem, folder, base);
      const end = await endOfSegment(fileSystem, folder, base);
      await replaceAbortedIndex(fileSystem, folder, base, await abortedBelow(fileSystem, folder, end, 0));
      done.push(`made the indexes of ${file} again`);
    } else left.push(problem);
  }
  for (const folder of await partitionFolders(fileSystem, directory)) {
    if (ended.has(folder) || left.some(({ file }) => path.dirname(file) === folder)) continue;
    const accepted = await acceptLostEnd(fileSystem, catalog, folder, lost.has(folder));
    if (accepted !== undefined) done.push(accepted);
  }
  return { done, left };
}

/** Whole batches that were synced and are not there leave no trace among the others: only the catalog and the snapshots miss them. */
async function acceptLostEnd(fileSystem: FileSystem, catalog: KeyedStore, folder: string, isLost: boolean): Promise<string | undefined> {
  const synced = new PartitionStates(catalog).get(path.basename(folder))?.synced;
  const bytesOf = async (base: number): Promise<number> => (await fileSystem.stat(path.join(folder, logFileName(base))))?.bytes ?? 0;
  if (!isLost && (synced === undefined || (await bytesOf(synced.baseOffset)) >= synced.bytes)) return undefined;
  const last = baseOffsetsOf(await fileSystem.list(folder)).at(-1) as number;
  const bytes = await bytesOf(last);
  await endAt(fileSystem, catalog, folder, last, bytes);
  const upTo = synced === undefined ? "" : `, up to offset ${synced.offset - 1},`;
  return `${path.join(folder, logFileName(last))} ends at byte ${bytes}: what was synced behind it${upTo} is lost`;
}

/**
 * Makes a place in a segment the end of its partition. What says that there was more goes first, and the newest segment before the ones
 * below it: stopped in between it is a partition that was damaged as before, or ends later.
 * @returns the segments that went
 */
async function endAt(fileSystem: FileSystem, catalog: KeyedStore, folder: string, base: number, bytes: number): Promise<string[]> {
  const states = new PartitionStates(catalog);
  const name = path.basename(folder);
  const known = states.get(name);
  // without an entry the end is found in the files; where records were deleted is nowhere else
  if (known !== undefined) {
    await states.put(name, { ...known, synced: segmentBegin(base), openFrom: undefined, clean: false });
  }
  const names = await fileSystem.list(folder);
  for (const offset of snapshotOffsetsOf(names)) await fileSystem.removeFile(path.join(folder, snapshotFileName(offset)));
  const later = baseOffsetsOf(names).filter((one) => one > base);
  for (const one of later.toReversed()) {
    for (const file of [logFileName(one), indexFileName(one), timeIndexFileName(one), abortedIndexFileName(one)]) {
      if (names.includes(file)) await fileSystem.removeFile(path.join(folder, file));
    }
    await fileSystem.syncDirectory(folder);
  }
  await cut(fileSystem, path.join(folder, logFileName(base)), bytes);
  await fileSystem.syncDirectory(folder);
  return later.map((one) => path.join(folder, logFileName(one)));
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
