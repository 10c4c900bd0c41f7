import path from "node:path";
import type { FileSystem } from "../../base/fileSystem.ts";
import { type PartitionState, segmentBegin } from "../embedded/partition/partitionState.ts";
import { knownEnd } from "../embedded/partition/recovery.ts";
import { ProducerState } from "../embedded/producers/producerState.ts";
import { baseOffsetsOf, isDeletedFolder, logFileName, snapshotFileName, snapshotOffsetsOf } from "../embedded/segment/names.ts";
import { type LogProblem, steadyProblems } from "./logProblem.ts";
import { TransactionCheck } from "./transactionCheck.ts";
import { lostText, verifySegment } from "./verifySegment.ts";

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
  const lastBase = bases.at(-1) as number;
  const known = await knownEnd(fileSystem, folder, state, bases, 0);
  const last = { known, state, from: known.indexed.baseOffset === lastBase ? known.indexed : segmentBegin(lastBase) };
  let nextOffset = bases[0] as number;
  // a compaction that did not come to its end, or retention beside us, has taken the first ones
  const startIsKnown = state !== undefined && state.replacing === undefined && !live;
  if (startIsKnown && state.startOffset < nextOffset) nextOffset = state.startOffset;
  for (const [i, base] of bases.entries()) {
    const file = path.join(folder, logFileName(base));
    if (base > nextOffset) {
      found.problems.push({ kind: "missing", file, position: 0, what: `offsets ${nextOffset} to ${base - 1} are not there` });
    }
    const before = found.bytes;
    const show = (bytes: number): void => progress(before + bytes);
    const segment = await verifySegment({ fileSystem, folder, base, next: bases[i + 1] ?? last, transactions, progress: show });
    ({ nextOffset } = segment);
    found.segments++;
    found.bytes += segment.bytes;
    found.batches += segment.batches;
    found.problems.push(...segment.problems);
  }
  const file = path.join(folder, logFileName(lastBase));
  // a bad batch there is what is missing
  const isSaid = found.problems.some((one) => (one.kind === "batch" || one.kind === "lost") && one.file === file);
  if (nextOffset < known.promisedOffset && !isSaid) {
    const position = (await fileSystem.stat(file))?.bytes ?? 0;
    found.problems.push({ kind: "lost", file, position, offset: nextOffset, what: lostText(nextOffset, known) });
  }
  found.problems.push(...(await snapshotProblems(fileSystem, folder, names)));
  return found;
}

async function snapshotProblems(fileSystem: FileSystem, folder: string, names: readonly string[]): Promise<LogProblem[]> {
  const problems: LogProblem[] = [];
  for (const offset of snapshotOffsetsOf(names)) {
    const file = path.join(folder, snapshotFileName(offset));
    if ((await fileSystem.stat(file)) === undefined) continue; // a newer one has taken its place meanwhile
    if (ProducerState.decode(await fileSystem.readFile(file), file, 0) === undefined)
      problems.push({ kind: "state", file, position: 0, what: "the snapshot of the producers is damaged, or too old; it is made anew" });
  }
  return problems;
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
