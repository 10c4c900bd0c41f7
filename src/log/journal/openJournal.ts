import { randomBytes } from "node:crypto";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { JournalVisitor, QueueJournal } from "../contract/queueJournal.ts";
import { journalIdBytes } from "./files/format.ts";
import { JournalFiles } from "./files/journalFiles.ts";
import { JournalReader } from "./files/journalReader.ts";
import type { JournalSettings } from "./journalParts.ts";
import { FileQueueJournal } from "./queueJournal.ts";
import { Segments } from "./segments/segments.ts";
import { WriteBehind } from "./segments/writeBehind.ts";
import { Replay } from "./start/replay.ts";

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
 * first commit on: the caller pins what it keeps before it appends or acknowledges anything, or drops a queue.
 */
export async function openJournal(options: JournalOptions, visitor: JournalVisitor): Promise<QueueJournal> {
  const { fileSystem, directory, logger, clock } = options;
  await fileSystem.makeDirectory(directory);
  const files = await JournalFiles.open(fileSystem, directory, options, clock, logger);
  try {
    const reader = new JournalReader();
    const begin = files.all[0]?.sequence ?? Number.POSITIVE_INFINITY;
    const segments = await Segments.open(fileSystem, directory, begin, reader, logger, options.indexPageItems);
    const replay = new Replay(files, await segments.replay(visitor), logger);
    const tail = await replay.run();
    await files.syncDirectory();
    const writeBehind = new WriteBehind(files, segments, visitor, clock, logger);
    files.hooks = { beforeFree: () => writeBehind.saveDead(), changed: () => writeBehind.wake() };
    files.journalId ??= randomBytes(journalIdBytes);
    const processId = Buffer.concat([files.journalId, randomBytes(4)]);
    return new FileQueueJournal(
      options,
      { files, segments, reader, writeBehind, tenants: visitor },
      tail,
      processId,
      replay.damagedEntries,
    );
  } catch (error) {
    await files.close();
    throw error;
  }
}
