import type { Logger } from "../../../base/logger.ts";
import { fileHeaderBytes } from "../files/format.ts";
import type { JournalFile, JournalTail } from "../files/journalFile.ts";
import type { JournalFiles } from "../files/journalFiles.ts";
import type { CleanStop } from "./cleanStopFormat.ts";
import { JournalScan, type ScanEnd } from "./journalScan.ts";
import { writeAgain } from "./recovery.ts";
import type { SegmentReplay } from "./segmentReplay.ts";

/** A start: reads what the files say, and makes them ready to go on. */
export class Replay {
  private readonly scan: JournalScan;

  constructor(
    private readonly files: JournalFiles,
    visitor: SegmentReplay,
    logger: Logger,
  ) {
    this.scan = new JournalScan(files, visitor, logger);
  }

  get damagedEntries(): number {
    return this.scan.damagedEntries;
  }

  /** Calls the visitor for each entry that counts. @returns where to go on */
  async run(): Promise<JournalTail> {
    const tail = await this.tailBehind(await this.scan.run());
    const { last } = this.scan;
    if (last !== undefined) {
      // what a killed process wrote may still be in memory only, and is relied upon from now on; of older files it was synced before
      // the next one was begun
      const { file, syncedBelow, end } = last;
      await writeAgain(file, Math.max(fileHeaderBytes, syncedBelow), end);
      await (await file.ready).sync();
    }
    return tail;
  }

  /** After a clean stop there is nothing to be read. @returns where to go on */
  goOnAfter({ sequences, tail, journalId }: CleanStop): Promise<JournalTail> {
    const { all } = this.files;
    this.files.journalId = journalId;
    return this.tailBehind({ file: all[sequences.length - 1] as JournalFile, later: all.length - sequences.length, end: tail });
  }

  private async tailBehind(found: ScanEnd | undefined): Promise<JournalTail> {
    if (found !== undefined) {
      const { file, later, end } = found;
      const isNew = end.at === fileHeaderBytes;
      await this.files.setAside(later + (isNew ? 1 : 0));
      // if it is new and in its place, it is the next one
      if (!isNew) return { file, offset: end.at, chain: end.chain };
    }
    const file = this.files.next();
    await file.ready;
    return { file, offset: fileHeaderBytes, chain: file.headerCrc };
  }
}
