import { randomBytes } from "node:crypto";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { JournalVisitor, QueueJournal } from "../contract/queueJournal.ts";
import { corrupt, fileHeaderBytes, journalIdBytes } from "./format.ts";
import { JournalFiles } from "./journalFiles.ts";
import { JournalReader } from "./journalReader.ts";
import { FileQueueJournal, type JournalSettings, type JournalTail } from "./queueJournal.ts";
import { scanFile, wasSynced } from "./recovery.ts";
import type { SegmentReplay } from "./segmentReplay.ts";
import { Segments } from "./segments.ts";
import { WriteBehind } from "./writeBehind.ts";

export interface JournalOptions extends JournalSettings {
  readonly fileSystem: FileSystem;
  /** Of a new journal; one that exists keeps the size that it has. */
  readonly fileBytes: number;
  /** Of the files together, three of them at least: it bounds what a restart after a crash has to read. */
  readonly bytesMax: number;
  /** Items of a segment's index that are read at once: tests make it small. */
  readonly indexPageItems?: number;
}

/**
 * Replays what is there, calling the visitor in the order in which it happened, and goes on behind it. Files are reused from the
 * first commit on: the caller pins what it keeps before it appends, acknowledges or waits for anything.
 */
export async function openJournal(options: JournalOptions, visitor: JournalVisitor): Promise<QueueJournal> {
  const { fileSystem, directory, logger, clock } = options;
  await fileSystem.makeDirectory(directory);
  const files = await JournalFiles.open(fileSystem, directory, options, clock, logger);
  try {
    const reader = new JournalReader();
    const begin = files.all[0]?.sequence ?? Number.POSITIVE_INFINITY;
    const segments = await Segments.open(fileSystem, directory, begin, reader, logger, options.indexPageItems);
    const segmentReplay = await segments.replay(visitor);
    const { tail, journalId } = await replay(files, segmentReplay);
    // what a killed process wrote may still be in the page cache only, and is relied upon from now on; of older files it was synced
    // before the next one was begun
    for (const file of files.all.slice(-2)) await (await file.ready).sync();
    await files.syncDirectory();
    const writeBehind = new WriteBehind(files, segments, visitor, clock, logger);
    files.hooks = { beforeFree: () => writeBehind.saveDead(), changed: () => writeBehind.wake() };
    const processId = Buffer.concat([journalId ?? randomBytes(journalIdBytes), randomBytes(4)]);
    return new FileQueueJournal(options, files, segments, reader, writeBehind, tail, processId);
  } catch (error) {
    await files.close();
    throw error;
  }
}

async function replay(files: JournalFiles, visitor: SegmentReplay): Promise<{ tail: JournalTail; journalId: Buffer | undefined }> {
  const found = files.all.slice();
  let journalId: Buffer | undefined;
  for (const [index, file] of found.entries()) {
    const scanned = await scanFile(file, files.fileBytes, visitor);
    await visitor.settle();
    journalId ??= scanned.journalId;
    if (scanned.finished) continue;
    const later = found.slice(index + 1);
    for (const after of later) {
      const { entries } = await scanFile(after, files.fileBytes, undefined);
      if (entries > 0) throw corrupt(`${file.path} at byte ${scanned.end}`, "an entry is broken, and later ones are not");
    }
    if (journalId !== undefined && (await wasSynced(file, files.fileBytes, scanned.end, journalId))) {
      throw corrupt(`${file.path} at byte ${scanned.end}`, "an entry is broken that was synced before later ones were written");
    }
    files.setAside(later.length);
    return { tail: { file, offset: scanned.end, chain: scanned.chain }, journalId };
  }
  const file = files.next();
  await file.ready;
  return { tail: { file, offset: fileHeaderBytes, chain: file.headerCrc }, journalId };
}
