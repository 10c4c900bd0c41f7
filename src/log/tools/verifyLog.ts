import path from "node:path";
import type { FileSystem } from "../../base/fileSystem.ts";
import { baseOffsetAt, lastOffsetAt } from "../../record/batchHeader.ts";
import { isMarked } from "../../record/batchMark.ts";
import { indexesFit } from "../embedded/segment/indexCheck.ts";
import { baseOffsetsOf, isCleanedFile, isDeletedFolder, logFileName } from "../embedded/segment/names.ts";
import { scanSegment } from "../embedded/segment/segmentScan.ts";
import { isSyncedBehind } from "../embedded/segment/syncedBehind.ts";
import { loadAbortedIndex } from "../embedded/transactions/abortedIndex.ts";
import { TransactionCheck } from "./transactionCheck.ts";

/**
 * "tail": the end of the last segment is not whole; a start cuts it, if it was never synced. "batch": bad bytes before that, which nothing
 * cuts. "surplus": batches that the next segment has; they count nowhere. "missing": offsets are not there. "index": can be made again.
 * "unfinished": the process ended while a compaction put the segment's files in the place of others; the next start comes to its end.
 */
type ProblemKind = "tail" | "batch" | "surplus" | "missing" | "index" | "unfinished";

export interface LogProblem {
  readonly kind: ProblemKind;
  readonly file: string;
  readonly position: number;
  readonly what: string;
}

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

/** Reads every batch of every partition, checks its CRC and its place, and the indexes. Changes nothing. */
export async function verifyLog(
  fileSystem: FileSystem,
  directory: string,
  progress: (bytes: number, bytesTotal: number) => void,
): Promise<Verified> {
  const folders = await partitionFolders(fileSystem, directory);
  const total = await totalBytes(fileSystem, folders);
  const found = { segments: 0, bytes: 0, batches: 0, problems: [] as LogProblem[] };
  for (const folder of folders) {
    const bases = baseOffsetsOf(await fileSystem.list(folder));
    const transactions = new TransactionCheck();
    let next = bases[0] as number;
    for (const [i, base] of bases.entries()) {
      const file = path.join(folder, logFileName(base));
      if (base > next) {
        found.problems.push({ kind: "missing", file, position: 0, what: `offsets ${next} to ${base - 1} are not there` });
      }
      const segment = await verifySegment(fileSystem, folder, base, bases[i + 1], transactions);
      next = segment.nextOffset;
      found.segments++;
      found.bytes += segment.bytes;
      found.batches += segment.batches;
      found.problems.push(...segment.problems);
      progress(found.bytes, total);
    }
  }
  return { partitions: folders.length, ...found };
}

async function verifySegment(
  fileSystem: FileSystem,
  folder: string,
  base: number,
  nextBase: number | undefined,
  transactions: TransactionCheck,
): Promise<{ nextOffset: number; bytes: number; batches: number; problems: LogProblem[] }> {
  const name = path.join(folder, logFileName(base));
  const file = await fileSystem.open(name, "read");
  try {
    const bytes = await file.bytes();
    let nextOffset = base;
    let batches = 0;
    let what = "";
    let isSurplus = false;
    transactions.enterSegment(await loadAbortedIndex(fileSystem, folder, base));
    const { end, problem } = await scanSegment(file, 0, bytes, true, (buffer, at) => {
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
    const problems: LogProblem[] = [];
    if (end < bytes) {
      const isTail = nextBase === undefined && !(await isSyncedBehind(file, end, bytes));
      const kind = isTail ? "tail" : isSurplus ? "surplus" : "batch";
      problems.push({ kind, file: name, position: end, what: problem?.message ?? what });
      if (isSurplus) nextOffset = nextBase ?? nextOffset;
    } else {
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
