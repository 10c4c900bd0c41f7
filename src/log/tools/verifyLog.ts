import path from "node:path";
import type { FileSystem } from "../../base/fileSystem.ts";
import { baseOffsetAt, lastOffsetAt } from "../../record/batchHeader.ts";
import { isMarked } from "../../record/batchMark.ts";
import type { PartitionState } from "../embedded/partition/partitionState.ts";
import { ProducerState } from "../embedded/producers/producerState.ts";
import { clearPlaceBehind } from "../embedded/segment/behindDamage.ts";
import { indexesFit } from "../embedded/segment/indexCheck.ts";
import { offsetsBehind, SearchBudget, unlessUnclear } from "../embedded/segment/lookalikes.ts";
import {
  baseOffsetsOf,
  isCleanedFile,
  isDeletedFolder,
  logFileName,
  snapshotFileName,
  snapshotOffsetsOf,
} from "../embedded/segment/names.ts";
import { scanSegment } from "../embedded/segment/segmentScan.ts";
import { SyncedProofs } from "../embedded/segment/syncedBehind.ts";
import { loadAbortedIndex } from "../embedded/transactions/abortedIndex.ts";
import { type LogProblem, steadyProblems } from "./logProblem.ts";
import { TransactionCheck } from "./transactionCheck.ts";

/** It is said how far it is after so many. */
const PROGRESS_BYTES = 8 * 1024 * 1024;

export interface Verified {
  readonly partitions: number;
  readonly segments: number;
  readonly bytes: number;
  readonly batches: number;
  readonly problems: readonly LogProblem[];
}

/** The partitions' folders in a directory of topics; or the directory itself, if it is one. */
export async function partitionFolders(fileSystem: FileSystem, directory: string): Promise<string[]> {
  const names = await fileSystem.list(directory);
  if (baseOffsetsOf(names).length > 0) return [directory];
  const folders: string[] = [];
  for (const name of names.toSorted()) {
    const folder = path.join(directory, name);
    if (isDeletedFolder(name) || (await fileSystem.stat(folder))?.isDirectory !== true) continue;
    if (baseOffsetsOf(await fileSystem.list(folder)).length > 0) folders.push(folder);
  }
  return folders;
}

/** What the catalog knows of a partition; undefined: that it is there, and nothing more. */
export type KnownPartitions = ReadonlyMap<string, PartitionState | undefined>;

export interface VerifyOptions {
  /** By the names of their folders, all that there should be. */
  readonly known?: KnownPartitions;
  /** A node is running on these files. */
  readonly live?: boolean;
}

/**
 * Reads every batch of every partition, checks its CRC and its place, and the indexes; where the catalog says how far a partition was synced,
 * also that it reaches that far. Changes nothing.
 */
export async function verifyLog(
  fileSystem: FileSystem,
  directory: string,
  progress: (bytes: number, bytesTotal: number) => void,
  { known, live = false }: VerifyOptions = {},
): Promise<Verified> {
  const folders = await partitionFolders(fileSystem, directory);
  const total = await totalBytes(fileSystem, folders);
  const found = { segments: 0, bytes: 0, batches: 0, problems: [] as LogProblem[] };
  for (const folder of folders) {
    const show = (bytes: number): void => progress(found.bytes + bytes, total);
    const state = known?.get(path.basename(folder));
    const partition = await steadyProblems(live, () => verifyPartition(fileSystem, folder, state, live, show));
    found.segments += partition.segments;
    found.bytes += partition.bytes;
    found.batches += partition.batches;
    found.problems.push(...partition.problems);
    progress(found.bytes, total);
  }
  return { partitions: folders.length, ...found };
}

type VerifiedPartition = Omit<Verified, "partitions">;

async function verifyPartition(
  fileSystem: FileSystem,
  folder: string,
  state: PartitionState | undefined,
  live: boolean,
  progress: (bytes: number) => void,
): Promise<VerifiedPartition> {
  const found = { segments: 0, bytes: 0, batches: 0, problems: [] as LogProblem[] };
  // the topic was deleted meanwhile
  if (live && (await fileSystem.stat(folder)) === undefined) return found;
  const names = await fileSystem.list(folder);
  const bases = baseOffsetsOf(names);
  const transactions = new TransactionCheck();
  let next = bases[0] as number;
  // a compaction that did not come to its end, or retention beside us, has taken the first ones
  const startIsKnown = state !== undefined && state.replacing === undefined && !live;
  if (startIsKnown && state.startOffset < next) next = state.startOffset;
  for (const [i, base] of bases.entries()) {
    const file = path.join(folder, logFileName(base));
    if (base > next) {
      found.problems.push({ kind: "missing", file, position: 0, what: `offsets ${next} to ${base - 1} are not there` });
    }
    const before = found.bytes;
    const segment = await verifySegment(fileSystem, folder, base, bases[i + 1], transactions, (bytes) => progress(before + bytes));
    next = segment.nextOffset;
    found.segments++;
    found.bytes += segment.bytes;
    found.batches += segment.batches;
    found.problems.push(...segment.problems);
  }
  const last = path.join(folder, logFileName(bases.at(-1) as number));
  const lost = await lostEnd(fileSystem, folder, names, state, next, found.problems);
  if (lost.what !== undefined && !found.problems.some(({ kind, file }) => kind === "batch" && file === last)) {
    const position = (await fileSystem.stat(last))?.bytes ?? 0;
    found.problems.push({ kind: "lost", file: last, position, what: lost.what });
  }
  return found;
}

/** Says which snapshots are damaged, too: one is written only when everything below it was synced. */
async function lostEnd(
  fileSystem: FileSystem,
  folder: string,
  names: readonly string[],
  state: PartitionState | undefined,
  endOffset: number,
  problems: LogProblem[],
): Promise<{ readonly what: string | undefined }> {
  let synced = state?.synced.offset ?? 0;
  for (const offset of snapshotOffsetsOf(names)) {
    const file = path.join(folder, snapshotFileName(offset));
    if ((await fileSystem.stat(file)) === undefined) continue; // a newer one has taken its place meanwhile
    if (ProducerState.decode(await fileSystem.readFile(file), file, 0) !== undefined) synced = Math.max(synced, offset);
    else problems.push({ kind: "state", file, position: 0, what: "the snapshot of the producers is damaged, or too old; it is made anew" });
  }
  return { what: endOffset < synced ? `offsets ${endOffset} to ${synced - 1} were synced and are not there` : undefined };
}

async function verifySegment(
  fileSystem: FileSystem,
  folder: string,
  base: number,
  nextBase: number | undefined,
  transactions: TransactionCheck,
  progress: (bytes: number) => void,
): Promise<{ nextOffset: number; bytes: number; batches: number; problems: LogProblem[] }> {
  const name = path.join(folder, logFileName(base));
  const file = await fileSystem.open(name, "read");
  try {
    const bytes = await file.bytes();
    const problems: LogProblem[] = [];
    let nextOffset = base;
    let batches = 0;
    let shown = 0;
    const budget = new SearchBudget(bytes); // of all searches together: there may be many holes
    const proofs = new SyncedProofs(file, bytes, budget);
    transactions.enterSegment(await loadAbortedIndex(fileSystem, folder, base));
    for (let from: number | undefined = 0; from !== undefined; ) {
      let what = "";
      let isSurplus = false;
      const { end, problem } = await scanSegment(file, from, bytes, true, (buffer, at, position) => {
        if (position - shown >= PROGRESS_BYTES) progress((shown = position));
        const first = baseOffsetAt(buffer, at);
        if (first < nextOffset) what = `offset ${first} comes after ${nextOffset - 1}`;
        if (first >= (nextBase ?? Number.POSITIVE_INFINITY))
          what = `offset ${first} belongs to the next segment: a failed write or a compaction that did not come to its end left it`;
        // else its offset is damaged: an older release's has no checksum
        isSurplus = what !== "" && first >= nextOffset && (nextOffset === nextBase || isMarked(buffer, at));
        if (what !== "") return "stop";
        nextOffset = lastOffsetAt(buffer, at) + 1;
        batches++;
        transactions.batch(buffer, at);
        return undefined;
      });
      if (end === bytes) break;
      const offsets = offsetsBehind(nextOffset, base, nextBase);
      const isTail = nextBase === undefined && !(await unlessUnclear(proofs.isBehind(end, offsets), true));
      const kind = isTail ? "tail" : isSurplus ? "surplus" : "batch";
      const behind = kind === "batch" ? await clearPlaceBehind(file, end, bytes, offsets, budget) : undefined;
      const goesOn = behind && ` (offset ${behind.offset} is whole again, at byte ${behind.position})`;
      problems.push({ kind, file: name, position: end, what: (problem?.message ?? what) + (goesOn ?? "") });
      nextOffset = behind?.offset ?? nextBase ?? nextOffset; // with the damage it is said what is missing
      from = behind?.position;
    }
    if (problems.length === 0) {
      const unfit = nextBase !== undefined && !(await indexesFit(fileSystem, folder, base));
      const wrong = unfit ? "its indexes do not fit" : transactions.leaveSegment(nextOffset, nextBase === undefined);
      const isSwapped = unfit && (await hasCleanedFiles(fileSystem, folder, base));
      if (isSwapped)
        problems.push({ kind: "unfinished", file: name, position: 0, what: "its indexes were being replaced by a compaction" });
      else if (wrong !== undefined) problems.push({ kind: "index", file: name, position: 0, what: wrong });
    }
    return { nextOffset, bytes, batches, problems };
  } finally {
    await file.close();
  }
}

async function hasCleanedFiles(fileSystem: FileSystem, folder: string, base: number): Promise<boolean> {
  const segment = path.basename(logFileName(base), ".log");
  return (await fileSystem.list(folder)).some((name) => isCleanedFile(name) && name.startsWith(segment));
}

async function totalBytes(fileSystem: FileSystem, folders: readonly string[]): Promise<number> {
  let total = 0;
  for (const folder of folders) {
    for (const base of baseOffsetsOf(await fileSystem.list(folder))) {
      total += (await fileSystem.stat(path.join(folder, logFileName(base))))?.bytes ?? 0;
    }
  }
  return total;
}
