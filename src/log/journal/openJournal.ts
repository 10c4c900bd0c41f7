import { randomBytes } from "node:crypto";
import { closeAll } from "../../base/closing.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { DiskRoomLeft } from "../contract/embeddedLog.ts";
import type { JournalVisitor, QueueJournal } from "../contract/queueJournal.ts";
import { journalIdBytes } from "./files/format.ts";
import { JournalFiles } from "./files/journalFiles.ts";
import { JournalReader } from "./files/journalReader.ts";
import type { JournalParts, JournalSettings } from "./journalParts.ts";
import { FileQueueJournal } from "./queueJournal.ts";
import { Segments } from "./segments/segments.ts";
import { WriteBehind } from "./segments/writeBehind.ts";
import { leaveCleanStop, takeCleanStop, tellQueues } from "./start/cleanStop.ts";
import { Replay } from "./start/replay.ts";

export interface JournalOptions extends JournalSettings {
  readonly fileSystem: FileSystem;
  /** Of a new journal; one that exists keeps the size that it has. */
  readonly fileBytes: number;
  /** Of the files together, three of them at least: it bounds what a restart after a crash has to read. */
  readonly bytesMax: number;
  /** What is left for it of the disk; without it, all that there is. */
  readonly space?: DiskRoomLeft;
  /** Items of a segment's index that are read at once: tests make it small. */
  readonly indexPageItems?: number;
}

const allThereIs: DiskRoomLeft = { take: async () => undefined };

/**
 * Replays what is there, calling the visitor in the order in which it happened, and goes on behind it. Files are reused from the
 * first commit on: the caller pins what it keeps before it appends or acknowledges anything, or drops a queue.
 */
export async function openJournal(options: JournalOptions, visitor: JournalVisitor): Promise<QueueJournal> {
  const { fileSystem, directory, logger, clock, space = allThereIs } = options;
  await fileSystem.makeDirectory(directory);
  const files = await JournalFiles.open(fileSystem, directory, options, space, clock, logger);
  let opened: Segments | undefined;
  try {
    const reader = new JournalReader();
    const stop = await takeCleanStop(fileSystem, directory, files, logger);
    const begin = stop?.first ?? files.all[0]?.sequence ?? Number.POSITIVE_INFINITY;
    const segments = await Segments.open(fileSystem, directory, begin, reader, logger, options.indexPageItems);
    opened = segments;
    const replay = new Replay(files, await segments.replay(visitor), logger);
    if (stop !== undefined) await tellQueues(stop, visitor);
    const tail = await (stop === undefined ? replay.run() : replay.goOnAfter(stop));
    await files.syncDirectory();
    const writeBehind = new WriteBehind(files, segments, visitor, space, clock, logger);
    files.hooks = { beforeFree: () => writeBehind.saveDead(), changed: () => writeBehind.wake() };
    files.journalId ??= randomBytes(journalIdBytes);
    const processId = Buffer.concat([files.journalId, randomBytes(4)]);
    const leave: JournalParts["leave"] = (at, queues) =>
      leaveCleanStop({ files, segments, writeBehind, fileSystem, directory }, at, queues);
    return new FileQueueJournal(
      options,
      { files, segments, reader, writeBehind, tenants: visitor, leave },
      tail,
      processId,
      replay.damagedEntries,
    );
  } catch (error) {
    await closeAll(files, opened).catch(() => undefined);
    throw error;
  }
}
