import type { Logger } from "../../../base/logger.ts";
import { type Cut, cutEntryBytes, entryHeadBytes, fileHeaderBytes } from "../files/format.ts";
import type { JournalFile } from "../files/journalFile.ts";
import { entryAfter } from "../files/journalMessages.ts";
import { beginOf, type ChainPlace, type EntryVisitor, readWhole, scanFile, wasSynced } from "./recovery.ts";

/** The journal's files as far as they are read. */
export interface ScannedFiles {
  /** Oldest first. */
  readonly all: readonly JournalFile[];
  readonly fileBytes: number;
  /** Known from the first commit on. */
  journalId: Buffer | undefined;
}

/** What the entries say goes here; `settle` comes after each file. */
interface ScanVisitor extends EntryVisitor {
  settle(): Promise<void>;
}

/** Where the entries end: in a file that is not finished. */
export interface ScanEnd {
  readonly file: JournalFile;
  /** Files behind it, without entries. */
  readonly later: number;
  readonly end: ChainPlace;
}

/**
 * Goes through the files from the oldest on; tells what was cut off, a torn end and damage apart. Only reads: a start goes on from what it
 * finds (`Replay`), and who looks after the files sees the same.
 */
export class JournalScan {
  damagedEntries = 0;
  entries = 0;
  /** Where entries were last, and from where on they may not be synced. */
  last: { readonly file: JournalFile; readonly syncedBelow: number; readonly end: number } | undefined;
  private readonly found: readonly JournalFile[];
  private readonly fileBytes: number;
  private readonly cuts = new Map<JournalFile, Cut>();

  constructor(
    private readonly files: ScannedFiles,
    private readonly visitor: ScanVisitor,
    private readonly logger: Logger,
  ) {
    this.found = files.all.slice();
    this.fileBytes = files.fileBytes;
  }

  /** Calls the visitor for each entry that counts. @returns undefined: the last file is finished, or there is none */
  async run(): Promise<ScanEnd | undefined> {
    await this.applyCuts();
    for (const [index, file] of this.found.entries()) {
      const end = await this.applyFile(file, this.found.slice(index + 1));
      await this.visitor.settle();
      if (end !== undefined) return { file, later: this.found.length - index - 1, end };
    }
    return undefined;
  }

  /** @returns where to go on in it, if it is the last one */
  private async applyFile(file: JournalFile, later: readonly JournalFile[]): Promise<ChainPlace | undefined> {
    let from: ChainPlace = { at: fileHeaderBytes, chain: file.headerCrc };
    for (;;) {
      const { end, entries, finished, journalId, syncedBelow } = await scanFile(file, this.fileBytes, from, this.visitor);
      this.files.journalId ??= journalId;
      this.entries += entries;
      if (entries > 0) this.last = { file, syncedBelow, end: end.at };
      if (finished || end.at === file.countsTo) return undefined;
      if (!(await this.isDamage(file, end.at, later))) {
        await this.reportTorn(file, end);
        return end;
      }
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

  /** Never confirmed, if it is torn; nobody can tell it from the last write that was, and was damaged since. */
  private async reportTorn(file: JournalFile, { at, chain }: ChainPlace): Promise<void> {
    const head = Buffer.alloc(entryHeadBytes);
    const handle = await file.ready;
    if ((await handle.read(head, 0, head.length, at)) < head.length) return;
    const length = head.readUInt32LE(0);
    if (length < entryHeadBytes || head.readUInt32LE(8) !== chain) return; // old bytes, of an earlier use of the file
    this.logger.warn("cut a torn write off the end of the journal", { file: file.path, position: at });
  }

  private async hasEntries(file: JournalFile): Promise<boolean> {
    const begin = { at: fileHeaderBytes, chain: file.headerCrc };
    return (await scanFile(file, this.fileBytes, begin, undefined)).entries > 0;
  }

  private async passOver(file: JournalFile, at: number): Promise<ChainPlace | undefined> {
    file.damaged = true;
    this.damagedEntries++;
    const bytes = await readWhole(file, this.fileBytes);
    const { sequence, headerCrc } = file;
    const next = entryAfter(bytes, at, { sequence, headerCrc, journalId: this.files.journalId });
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
