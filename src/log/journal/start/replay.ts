import type { Logger } from "../../../base/logger.ts";
import { type Cut, cutEntryBytes, fileHeaderBytes } from "../files/format.ts";
import type { JournalFile, JournalTail } from "../files/journalFile.ts";
import type { JournalFiles } from "../files/journalFiles.ts";
import { entryAfter } from "../files/journalMessages.ts";
import { beginOf, type ChainPlace, readWhole, scanFile, wasSynced, writeAgain } from "./recovery.ts";
import type { SegmentReplay } from "./segmentReplay.ts";

/** Goes through the files from the oldest on; tells what was cut off, a torn end and damage apart. */
export class Replay {
  damagedEntries = 0;
  private readonly found: readonly JournalFile[];
  private readonly fileBytes: number;
  /** Where entries were last, and from where on they may not be synced. */
  private readonly cuts = new Map<JournalFile, Cut>();
  private last: { readonly file: JournalFile; readonly syncedBelow: number; readonly end: number } | undefined;

  constructor(
    private readonly files: JournalFiles,
    private readonly visitor: SegmentReplay,
    private readonly logger: Logger,
  ) {
    this.found = files.all.slice();
    this.fileBytes = files.fileBytes;
  }

  /** Calls the visitor for each entry that counts. @returns where to go on */
  async run(): Promise<JournalTail> {
    await this.applyCuts();
    const tail = await this.applyEntries();
    if (this.last !== undefined) {
      // what a killed process wrote may still be in memory only, and is relied upon from now on; of older files it was synced before
      // the next one was begun
      const { file, syncedBelow, end } = this.last;
      await writeAgain(file, Math.max(fileHeaderBytes, syncedBelow), end);
      await (await file.ready).sync();
    }
    return tail;
  }

  private async applyEntries(): Promise<JournalTail> {
    for (const [index, file] of this.found.entries()) {
      const end = await this.applyFile(file, this.found.slice(index + 1));
      await this.visitor.settle();
      if (end === undefined) continue;
      const isNew = end.at === fileHeaderBytes;
      await this.files.setAside(this.found.length - index - (isNew ? 0 : 1));
      if (isNew) break; // if it is in its place, it is the next one
      return { file, offset: end.at, chain: end.chain };
    }
    const file = this.files.next();
    await file.ready;
    return { file, offset: fileHeaderBytes, chain: file.headerCrc };
  }

  /** @returns where to go on in it, if it is the last one */
  private async applyFile(file: JournalFile, later: readonly JournalFile[]): Promise<ChainPlace | undefined> {
    let from: ChainPlace = { at: fileHeaderBytes, chain: file.headerCrc };
    for (;;) {
      const { end, entries, finished, journalId, syncedBelow } = await scanFile(file, this.fileBytes, from, this.visitor);
      this.files.journalId ??= journalId;
      if (entries > 0) this.last = { file, syncedBelow, end: end.at };
      if (finished || end.at === file.countsTo) return undefined;
      if (!(await this.isDamage(file, end.at, later))) return end;
      const next = await this.passOver(file, end.at);
      if (next === undefined) return undefined;
      from = next;
    }
  }

  /** Is what broke the chain more than a torn end? */
  private async isDamage(file: JournalFile, at: number, later: readonly JournalFile[]): Promise<boolean> {
    if (at < file.countsTo && file.countsTo < this.fileBytes) return true;
    for (const after of later) if (this.cuts.has(after) || (await this.hasEntries(after))) return true;
    const { journalId } = this.files;
    // whose journal it is may have stood in the damaged entry
    return (journalId !== undefined || at === fileHeaderBytes) && wasSynced(file, this.fileBytes, at, journalId);
  }

  private async hasEntries(file: JournalFile): Promise<boolean> {
    const begin = { at: fileHeaderBytes, chain: file.headerCrc };
    return (await scanFile(file, this.fileBytes, begin, undefined)).entries > 0;
  }

  private async passOver(file: JournalFile, at: number): Promise<ChainPlace | undefined> {
    file.damaged = true;
    this.damagedEntries++;
    const bytes = await readWhole(file, this.fileBytes);
    const next = entryAfter(bytes, at, this.files.identityOf(file));
    this.logger.error(
      "an entry of the journal is damaged and passed over: a message in it is lost, what was acknowledged in it comes again",
      {
        file: file.path,
        position: at,
        goesOnAt: next ?? "the next file",
      },
    );
    return next === undefined ? undefined : { at: next, chain: bytes.readUInt32LE(next + 8) };
  }

  /** Newest first: what a later one cut off does not say anything any more. */
  private async applyCuts(): Promise<void> {
    const begins = new Map<JournalFile, Awaited<ReturnType<typeof beginOf>>>();
    for (const file of this.found) {
      const begin = await beginOf(file);
      begins.set(file, begin);
      this.files.journalId ??= begin.journalId;
    }
    for (const [index, file] of [...this.found.entries()].toReversed()) {
      const cut = begins.get(file)?.cut;
      if (cut === undefined || file.countsTo < fileHeaderBytes + 2 * cutEntryBytes) continue;
      // half of it may be torn: then nothing behind it counts, nor does it
      if (!cut.first && !(await this.isDamage(file, fileHeaderBytes, this.found.slice(index + 1)))) continue;
      this.cuts.set(file, cut);
      for (const earlier of this.found.slice(0, index)) {
        if (earlier.sequence < cut.sequence) continue;
        const countsTo = earlier.sequence === cut.sequence ? cut.countsTo : fileHeaderBytes;
        earlier.countsTo = Math.min(earlier.countsTo, countsTo);
      }
    }
    await this.reportGaps();
  }

  /** A file that is not there, and was not given up. */
  private async reportGaps(): Promise<void> {
    // a file of which nothing counts may never have been made
    const cuts = Array.from(this.cuts, ([{ sequence }, cut]) => ({
      from: cut.countsTo === fileHeaderBytes ? cut.sequence - 1 : cut.sequence,
      to: sequence,
    }));
    for (const [index, file] of this.found.entries()) {
      const before = this.found[index - 1];
      if (before === undefined || file.sequence === before.sequence + 1) continue;
      if (cuts.some(({ from, to }) => from <= before.sequence && file.sequence <= to)) continue;
      if (!(await this.hasEntries(file))) continue;
      this.damagedEntries++;
      this.logger.error("files of the journal are missing: what was in them is lost", {
        file: file.path,
        position: 0,
        missing: `${before.sequence + 1} to ${file.sequence - 1}`,
      });
    }
  }
}
