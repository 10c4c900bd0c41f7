import path from "node:path";
import type { MillraceError } from "../../base/errors.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import { type LogFields, type Logger, silentLogger } from "../../base/logger.ts";
import { openFiles } from "../journal/files/fileHeaders.ts";
import { commitEntryBytes, EntryKind, fileHeaderBytes, isDamage } from "../journal/files/format.ts";
import { JournalFile } from "../journal/files/journalFile.ts";
import { ownCommit } from "../journal/files/journalMessages.ts";
import { segmentFileName } from "../journal/segments/segmentFormat.ts";
import { countingSegments } from "../journal/segments/segments.ts";
import { readStop, stoppedFileName } from "../journal/start/cleanStop.ts";
import { JournalScan, type ScanEnd, type ScannedFiles } from "../journal/start/journalScan.ts";
import { readWhole } from "../journal/start/recovery.ts";
import { bytesIn } from "./bytesIn.ts";
import type { LogProblem } from "./logProblem.ts";
import { verifyJournalSegment } from "./verifyJournalSegment.ts";

export interface VerifiedJournal {
  readonly files: number;
  readonly segments: number;
  /** In files and segments. */
  readonly entries: number;
  readonly bytes: number;
  readonly problems: readonly LogProblem[];
}

/** Reads the queues' journal as a start does, and each segment to its last entry. Changes nothing. */
export async function verifyJournal(
  fileSystem: FileSystem,
  directory: string,
  progress: (bytes: number, bytesTotal: number) => void,
): Promise<VerifiedJournal> {
  const total = await bytesIn(fileSystem, directory);
  const show = (bytes: number): void => progress(Math.min(bytes, total), total);
  const problems: LogProblem[] = [];
  const found = { entries: 0, bytes: 0, problems };
  const files = await verifyFiles(fileSystem, directory, found, show);
  const names = await fileSystem.list(directory);
  // also those whose file of the journal is still there: after a clean stop they count
  const segments = countingSegments(names, Number.POSITIVE_INFINITY);
  for (const name of segments.map(segmentFileName)) {
    const segment = await verifyJournalSegment(fileSystem, path.join(directory, name), names.includes(`${name}.dead`));
    found.entries += segment.entries;
    found.bytes += segment.bytes;
    problems.push(...segment.problems);
    show(found.bytes);
  }
  const left = await readStop(fileSystem, directory);
  if (left !== undefined && left.stop === undefined) {
    const what = "what the last stop wrote down of the queues is damaged: the next start reads the journal instead";
    problems.push({ kind: "state", file: path.join(directory, stoppedFileName), position: 0, what });
  }
  found.bytes += left?.bytes ?? 0;
  progress(total, total); // also what is not counted
  return { files, segments: segments.length, ...found };
}

async function verifyFiles(
  fileSystem: FileSystem,
  directory: string,
  found: { entries: number; bytes: number; readonly problems: LogProblem[] },
  progress: (bytes: number) => void,
): Promise<number> {
  const logger = tellsProblems(found.problems);
  const openedFiles = await openFiles(fileSystem, directory, logger, "read").catch((error: unknown) => {
    if (!isDamage(error)) throw error;
    const { where = directory, message } = error as MillraceError;
    found.problems.push({ kind: "file", file: where, position: 0, what: message });
    return { files: [], fileBytes: undefined };
  });
  const { files: opened, fileBytes = 0 } = openedFiles;
  try {
    const all = opened.map(
      ({ sequence, headerCrc, path: file, handle }) => new JournalFile(sequence, headerCrc, file, Promise.resolve(handle), () => undefined),
    );
    const files: ScannedFiles = { all, fileBytes, journalId: undefined };
    const settle = async (): Promise<void> => progress((found.bytes += fileBytes));
    const scan = new JournalScan(files, { message: nothing, acknowledged: nothing, dropped: nothing, settle }, logger);
    const end = await scan.run();
    if (end !== undefined && (await isTorn(files, end))) {
      const what = "the last write was not finished, and nothing of it was confirmed; or it is damaged";
      found.problems.push({ kind: "tail", file: end.file.path, position: end.end.at, what });
    }
    found.entries += scan.entries;
    progress((found.bytes = opened.length * fileBytes));
    return opened.length;
  } finally {
    for (const { handle } of opened) await handle.close();
  }
}

/** Of what a file held before nothing continues the chain, and no commit says that it is of this one. A commit alone is no whole write. */
async function isTorn({ fileBytes, journalId }: ScannedFiles, { file, end }: ScanEnd): Promise<boolean> {
  const bytes = await readWhole(file, fileBytes);
  if (end.at + 12 <= bytes.length && bytes.readUInt32LE(end.at + 8) === end.chain) return true;
  const begun = end.at - commitEntryBytes;
  if (begun >= fileHeaderBytes && bytes[begun + 12] === EntryKind.commit && bytes.readUInt32LE(begun + 4) === end.chain) return true;
  return journalId !== undefined && ownCommit(bytes, Math.max(end.at, fileHeaderBytes), file.sequence, journalId) !== undefined;
}

/** The start says what it finds damaged to the log: with file and position. */
function tellsProblems(problems: LogProblem[]): Logger {
  const error = (what: string, { file, position, missing, goesOnAt }: LogFields = {}): void => {
    const kind = missing !== undefined ? "missing" : goesOnAt !== undefined ? "entry" : "file";
    const more = missing !== undefined ? ` (${String(missing)})` : goesOnAt !== undefined ? ` (goes on at ${String(goesOnAt)})` : "";
    problems.push({ kind, file: String(file), position: Number(position), what: what + more });
  };
  return { ...silentLogger, error };
}

const nothing = (): void => undefined;
