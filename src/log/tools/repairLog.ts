import path from "node:path";
import { assert } from "../../base/errors.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { KeyedStore } from "../contract/keyedStore.ts";
import { Catalog } from "../embedded/catalog.ts";
import { PartitionStates } from "../embedded/partition/partitionState.ts";
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
  /** Also cut at damage: the partition ends there, and loses all that follows. */
  readonly cutDamage: boolean;
}

export interface Repaired {
  readonly done: readonly string[];
  /** What it does not touch. */
  readonly left: readonly LogProblem[];
}

/**
 * Makes indexes again, and ends a partition where nothing more can be read: at an end that is torn, as the next start does, and where what
 * was synced is not there any more, as a node does not do by itself. Bad bytes that were synced, and those with whole batches behind them,
 * are left alone without `cutDamage`: a start serves what is behind. The directory must be locked. Throws FORMAT_TOO_NEW before it changes
 * anything.
 */
export async function repairLog({ fileSystem, directory, catalog, progress, cutDamage }: RepairOptions): Promise<Repaired> {
  Array.from(new Catalog(catalog).entries()); // throws FORMAT_TOO_NEW: what a newer release wrote is left alone
  const states = new PartitionStates(catalog);
  const folders = await partitionFolders(fileSystem, directory);
  const known = new Map(folders.map((folder) => [path.basename(folder), states.get(path.basename(folder))]));
  const { problems } = await verifyLog(fileSystem, directory, progress, { known });
  const done: string[] = [];
  const left: LogProblem[] = [];
  const ended = new Set<string>();
  for (const problem of problems) {
    const { kind, file, position, what } = problem;
    if (kind === "state") continue; // a start makes it again
    const folder = path.dirname(file);
    if (ended.has(folder)) continue; // what it was found in is gone
    if (endsPartition(problem, cutDamage)) {
      const removed = await endAt(fileSystem, states, problem);
      ended.add(folder);
      const ends = kind === "lost" ? `${file} ends at byte ${position} from now on: ${what}` : `cut ${file} at byte ${position}`;
      done.push(ends, ...removed.map((name) => `removed ${name}`));
    } else if (kind === "index") {
      await makeIndexes(fileSystem, folder, baseOf(file));
      done.push(`made the indexes of ${file} again`);
    } else left.push(problem);
  }
  return { done, left };
}

function endsPartition({ kind, goesOn }: LogProblem, cutDamage: boolean): boolean {
  if (kind === "lost" || (kind === "tail" && goesOn !== true)) return true;
  return cutDamage && (kind === "tail" || kind === "batch");
}

const baseOf = (file: string): number => Number(path.basename(file, ".log"));

async function makeIndexes(fileSystem: FileSystem, folder: string, base: number): Promise<void> {
  await rebuildIndexes(fileSystem, folder, base);
  const end = await endOfSegment(fileSystem, folder, base);
  await replaceAbortedIndex(fileSystem, folder, base, await abortedBelow(fileSystem, folder, end, 0));
}

/**
 * Makes a place in a segment the end of its partition. What says that there was more goes first, and the newest segment before the ones
 * below it: stopped in between it is a partition that was damaged as before, or ends later. What says that something below was synced stays:
 * else the next start would take damage there for a torn end.
 * @returns the segments that went
 */
async function endAt(fileSystem: FileSystem, states: PartitionStates, { file, position, offset }: LogProblem): Promise<string[]> {
  const [folder, base] = [path.dirname(file), baseOf(file)];
  assert(offset !== undefined, "a place where a partition can end has an offset");
  const name = path.basename(folder);
  const known = states.get(name);
  // without an entry the end is found in the files; where records were deleted is nowhere else
  if (known !== undefined) {
    const synced = offset <= known.synced.offset ? { offset, baseOffset: base, bytes: position } : known.synced;
    await states.put(name, { ...known, synced, openFrom: undefined, clean: false });
  }
  const names = await fileSystem.list(folder);
  for (const one of snapshotOffsetsOf(names)) if (one > offset) await fileSystem.removeFile(path.join(folder, snapshotFileName(one)));
  const later = baseOffsetsOf(names).filter((one) => one > base);
  for (const one of later.toReversed()) {
    for (const file of [logFileName(one), indexFileName(one), timeIndexFileName(one), abortedIndexFileName(one)]) {
      if (names.includes(file)) await fileSystem.removeFile(path.join(folder, file));
    }
    await fileSystem.syncDirectory(folder);
  }
  await cut(fileSystem, file, position);
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
