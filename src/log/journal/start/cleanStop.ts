import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import type { Logger } from "../../../base/logger.ts";
import { nextTurn } from "../../../base/nextTurn.ts";
import { removeIfThere, replaceFile, replacementOf } from "../../../base/wholeFile.ts";
import type { JournalVisitor, StoppedQueues } from "../../contract/queueJournal.ts";
import { fileHeaderBytes } from "../files/format.ts";
import type { JournalTail } from "../files/journalFile.ts";
import type { JournalFiles } from "../files/journalFiles.ts";
import type { Segments } from "../segments/segments.ts";
import { Slice } from "../segments/slice.ts";
import type { WriteBehind } from "../segments/writeBehind.ts";
import { type CleanStop, decodeStop, encodeStop, stoppedBytesMax } from "./cleanStopFormat.ts";
import { scanFile } from "./recovery.ts";

export const stoppedFileName = "queues.stopped";

/** The journal as it stops, all of it synced. */
interface StoppingJournal {
  readonly files: JournalFiles;
  readonly segments: Segments;
  readonly writeBehind: WriteBehind;
  readonly fileSystem: FileSystem;
  readonly directory: string;
}

/** False: the next start has to read the journal, as what is in it does not say all, or nobody would find it there. */
export async function leaveCleanStop(journal: StoppingJournal, tail: JournalTail, ask: StoppedQueues): Promise<boolean> {
  const { files, segments, writeBehind, fileSystem, directory } = journal;
  const { all, fileBytes, journalId } = files;
  const first = (all.find(({ pins }) => pins > 0) ?? tail.file).sequence;
  if (journalId === undefined || all.at(-1) !== tail.file) return false;
  if (all.some(({ damaged, countsTo }) => damaged || countsTo !== Number.POSITIVE_INFINITY)) return false;
  if (segments.all.some(({ name }) => name.last >= first)) return false;
  const queues = ask();
  if (queues === undefined) return false;
  await writeBehind.saveDead();
  const sequences = all.map(({ sequence }) => sequence);
  const left = { fileBytes, journalId, sequences, first, tail: { at: tail.offset, chain: tail.chain } };
  const whole = await encodeStop(left, queues);
  if (whole === undefined) return false;
  await replaceFile(fileSystem, path.join(directory, stoppedFileName), whole);
  return true;
}

/**
 * What the last stop left, if it is whole and the files are as it left them. It is gone from then on: the caller syncs the directory before
 * it writes anything.
 */
export async function takeCleanStop(
  fileSystem: FileSystem,
  directory: string,
  files: JournalFiles,
  logger: Logger,
): Promise<CleanStop | undefined> {
  const file = path.join(directory, stoppedFileName);
  await removeIfThere(fileSystem, replacementOf(file));
  const found = await readStop(fileSystem, directory);
  if (found === undefined) return undefined;
  const { stop } = found;
  if (stop === undefined) {
    logger.error("what the last stop wrote down of the queues is damaged; the journal is read instead", { file, position: 0 });
  }
  await fileSystem.removeFile(file);
  if (stop === undefined || !(await isAsLeft(files, stop))) return undefined;
  logger.info("the queues are as the last stop left them; the journal need not be read", { file });
  return stop;
}

/** Undefined: there is none. Without `stop` it is damaged. */
export async function readStop(
  fileSystem: FileSystem,
  directory: string,
): Promise<{ readonly bytes: number; readonly stop: CleanStop | undefined } | undefined> {
  const file = path.join(directory, stoppedFileName);
  const there = await fileSystem.stat(file);
  if (there === undefined) return undefined;
  return { bytes: there.bytes, stop: there.bytes > stoppedBytesMax ? undefined : decodeStop(await fileSystem.readFile(file), file) };
}

/** In slices. */
export async function tellQueues({ queues }: CleanStop, visitor: Pick<JournalVisitor, "stopped">): Promise<void> {
  const slice = new Slice();
  for (const queue of queues) {
    visitor.stopped(queue);
    if (slice.isOver(4 + queue.copies.offsets.length / 64 + queue.ids.length)) await nextTurn();
  }
}

/** With nothing behind the end. */
async function isAsLeft({ all, fileBytes }: JournalFiles, stop: CleanStop): Promise<boolean> {
  const { sequences, tail } = stop;
  const last = all[sequences.length - 1];
  if (last === undefined || stop.fileBytes !== fileBytes || all.some(({ damaged }) => damaged)) return false;
  if (sequences.some((sequence, n) => all[n]?.sequence !== sequence)) return false;
  for (const file of all.slice(sequences.length - 1)) {
    const begin = file === last ? tail : { at: fileHeaderBytes, chain: file.headerCrc };
    if ((await scanFile(file, fileBytes, begin, undefined)).entries > 0) return false;
  }
  return true;
}
