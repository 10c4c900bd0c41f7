import path from "node:path";
import type { Clock } from "../../../base/clock.ts";
import { closeUnconcerned } from "../../../base/closing.ts";
import { assert, MillraceError } from "../../../base/errors.ts";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import type { Logger } from "../../../base/logger.ts";
import { removeIfThere } from "../../../base/wholeFile.ts";
import type { DiskRoomLeft } from "../../contract/embeddedLog.ts";
import { DiskRoom, isDiskFull } from "./diskRoom.ts";
import { nameOf, openFiles } from "./fileHeaders.ts";
import { type Cut, encodeFileHeader, fileHeaderBytes } from "./format.ts";
import { JournalFile } from "./journalFile.ts";
import type { FileIdentity } from "./journalMessages.ts";
import { createZeroFilled } from "./zeroFilledFile.ts";

const makingName = "next.spare";
const retryAfterMs = 1000;
const damagedSuffix = ".damaged";
/** Files in which nothing lives any more and that are kept for reuse; more of them are removed. */
const freeFilesMax = 2;

/** What happens around the files, but not in them. */
export interface JournalFilesHooks {
  /** Before a file goes: what its entries said of the segments must be durable elsewhere. */
  beforeFree(): Promise<void>;
  /** The writer is in another file, or one more was planned: what lives in the oldest may have to move. */
  changed(): void;
}

/** One is written, one is free for what comes next, and one is emptied meanwhile. */
const filesMin = 3;

export interface JournalLimits {
  readonly fileBytes: number;
  /** Of all files together; rounded to files, of which there are three at least. */
  readonly bytesMax: number;
}

/** The journal's files from the oldest to the newest: gives the next one, reuses and removes the ones that are free. */
export class JournalFiles {
  /** Oldest first. The sequence has gaps where a file was given up. */
  private readonly list: JournalFile[] = [];
  /** After the list: made, and nothing written in them yet. */
  private readonly spares: JournalFile[] = [];
  private lastSequence = 0;
  /** One step at a time, so that the order on the disk is the order here. */
  private work: Promise<unknown> = Promise.resolve();
  private stopped = false;
  private tidying = false;
  /** What fails is not tried again. */
  private closing = false;
  /** While something is moved out of a file, or from segment to segment, no file goes. */
  private held = false;
  private freeing: Promise<unknown> = Promise.resolve();
  private roomWaiters: (() => void)[] = [];
  /** Files on the disk. */
  private made = 0;
  private beyondMax = false;
  readonly room: DiskRoom;
  /** Known from the first commit on. */
  journalId: Buffer | undefined;
  hooks: JournalFilesHooks = { beforeFree: async () => undefined, changed: () => undefined };
  /** Files from this sequence on are not free, whatever their pins: the writer is there. -1: the replay is not over. */
  writingIn = -1;

  private constructor(
    private readonly fileSystem: FileSystem,
    private readonly directory: string,
    readonly fileBytes: number,
    /** So many there are at most; who needs one more waits until one is free. */
    readonly filesMax: number,
    private readonly space: DiskRoomLeft,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {
    this.room = new DiskRoom(directory, logger);
  }

  /** Opens what is there; of another `fileBytes` than asked for the files on the disk are right, since they give the positions. */
  static async open(
    fileSystem: FileSystem,
    directory: string,
    limits: JournalLimits,
    space: DiskRoomLeft,
    clock: Clock,
    logger: Logger,
  ): Promise<JournalFiles> {
    await removeIfThere(fileSystem, path.join(directory, makingName));
    const { files: found, fileBytes = limits.fileBytes } = await openFiles(fileSystem, directory, logger);
    const filesMax = Math.max(filesMin, Math.floor(limits.bytesMax / fileBytes));
    const files = new JournalFiles(fileSystem, directory, fileBytes, filesMax, space, clock, logger);
    for (const { sequence, headerCrc, path: file, handle, damaged } of found) {
      const one = new JournalFile(sequence, headerCrc, file, Promise.resolve(handle), () => files.tidy());
      one.damaged = damaged;
      files.list.push(one);
      files.lastSequence = sequence;
    }
    files.made = found.length;
    return files;
  }

  get all(): readonly JournalFile[] {
    return this.list;
  }

  /** On the disk; the next one may only be planned. */
  get count(): number {
    return this.made;
  }

  /** Undefined: it was put aside. */
  at(sequence: number): JournalFile | undefined {
    const first = this.list[0]?.sequence ?? 0;
    if (sequence < first) return undefined;
    const expected = this.list[sequence - first];
    const file = expected?.sequence === sequence ? expected : this.list.findLast((one) => one.sequence === sequence);
    if (file === undefined) assert(false, `journal file ${sequence} is in use`); // hot: no text before it is needed
    return file;
  }

  identityOf({ sequence, headerCrc }: JournalFile): FileIdentity {
    return { sequence, headerCrc, journalId: this.journalId };
  }

  damagedPathOf(sequence: number): string {
    return path.join(this.directory, nameOf(sequence) + damagedSuffix);
  }

  /** After the replay: so many came after the one to go on in, and are empty. What is behind a gap would look like a loss later. */
  async setAside(count: number): Promise<void> {
    const empty = this.list.splice(this.list.length - count);
    // the numbers only ever grow: segments are named after them
    this.lastSequence = this.list.at(-1)?.sequence ?? (empty[0]?.sequence ?? 1) - 1;
    const gap = empty.findIndex((file, n) => file.damaged || file.sequence !== this.lastSequence + 1 + n);
    const superfluous = gap === -1 ? [] : empty.splice(gap);
    this.spares.push(...empty);
    this.lastSequence += empty.length;
    for (const file of superfluous.toReversed()) await this.remove(file);
  }

  /** The next file to write in; it may not be ready yet. */
  next(): JournalFile {
    const file = this.spares.shift() ?? this.plan();
    this.list.push(file);
    this.hooks.changed();
    return file;
  }

  /** Has the next file made in the background, if it is not. */
  prepare(): void {
    if (this.spares.length === 0) this.spares.push(this.plan());
  }

  /**
   * What was not synced in a file that failed has to go somewhere, though nothing may be free before it is there: meanwhile there may be
   * more files than the most.
   */
  set mayExceed(beyondMax: boolean) {
    this.beyondMax = beyondMax;
    if (beyondMax) this.roomChanged();
  }

  get newest(): number {
    return this.list.at(-1)?.sequence ?? 0;
  }

  /**
   * What was begun after that file failed too, and counts for nobody: it goes at once, the newest first, so that nothing is left without
   * the cut before it. What the disk does not let go does in its turn.
   */
  async giveUpAfter(sequence: number): Promise<void> {
    for (let file = this.list.at(-1); file !== undefined && file.sequence > sequence; file = this.list.at(-1)) {
      try {
        await this.remove(file);
      } catch (error) {
        this.logger.warn("could not remove a file of the journal that failed; trying again later", { file: file.path, error });
        return;
      }
      this.list.pop();
    }
  }

  /** What was begun in `by` says so, durably: nothing counts that lies between that and what is left of the failed file. */
  cutOff({ sequence, countsTo }: Cut, by: number): void {
    for (const file of this.list) {
      if (file.sequence >= sequence && file.sequence < by) file.countsTo = file.sequence === sequence ? countsTo : fileHeaderBytes;
    }
  }

  /** All that is before `sequence` is written and synced, and all pins are taken: what is free may go. */
  reachedBy(sequence: number): void {
    if (sequence === this.writingIn) return;
    this.writingIn = sequence;
    this.tidy();
    this.hooks.changed();
  }

  /** The oldest file, if what lives in it should move, so that there is room for what comes. */
  get toMove(): JournalFile | undefined {
    const oldest = this.list[0];
    if (oldest === undefined || oldest.moved || oldest.pins === 0 || oldest.sequence >= this.writingIn) return undefined;
    return this.list.length + 1 >= this.filesMax ? oldest : undefined;
  }

  /** The oldest file is damaged, and what could be saved was: what is left has pins that nobody may ever release. */
  get toPutAside(): boolean {
    const oldest = this.list[0];
    return oldest?.damaged === true && oldest.moved;
  }

  /** From the resolution on no file goes, until `letGo`. */
  async hold(): Promise<void> {
    this.held = true;
    await this.freeing;
  }

  /** Resolves when the files that are not in `all` any more are gone from the disk as well. */
  async freed(): Promise<void> {
    await this.freeing;
  }

  letGo(): void {
    this.held = false;
    this.tidy();
  }

  /** Who waits for a file gets one now, or a failure: nothing is tried again. */
  beginClosing(): void {
    this.closing = true;
    this.roomChanged();
  }

  /** While held, of what is `toPutAside`: it keeps its content, for whoever wants to look. Again if it fails. */
  async putOldestAside(): Promise<void> {
    const oldest = this.list[0] as JournalFile;
    await this.hooks.beforeFree();
    await this.putAside(oldest);
    this.list.shift();
  }

  async syncDirectory(): Promise<void> {
    await this.fileSystem.syncDirectory(this.directory);
  }

  async close(): Promise<void> {
    this.stopped = true;
    this.beginClosing();
    await this.work;
    for (const file of [...this.list, ...this.spares]) {
      await closeUnconcerned(await file.ready.catch(() => undefined), this.logger, file.path);
    }
  }

  private plan(): JournalFile {
    const sequence = ++this.lastSequence;
    const header = encodeFileHeader(sequence, this.fileBytes);
    const file = path.join(this.directory, nameOf(sequence));
    const ready = this.work.then(() => this.make(file, header));
    this.work = ready.catch(() => undefined);
    return new JournalFile(sequence, header.readUInt32LE(24), file, ready, () => this.tidy());
  }

  /** Until it works: at once a second time, then now and then, and no messages are taken meanwhile. */
  private async make(file: string, header: Buffer): Promise<File> {
    for (let failures = 0; ; failures++) {
      // before the try, so that what becomes free meanwhile is not missed
      const change = this.roomChange();
      try {
        const handle = await this.makeOnce(file, header);
        this.room.found("file");
        return handle;
      } catch (error) {
        // a replay has nothing to go on with meanwhile
        if (this.closing || this.writingIn === -1) throw error;
        if (failures === 0 && !isDiskFull(error)) {
          this.logger.warn("could not make the next file of the journal; trying again", { file, error });
          continue;
        }
        this.room.lacks("file", error);
        this.clock.after(retryAfterMs, () => this.roomChanged());
        await change;
      }
    }
  }

  /** What fails on the way is not used again: nobody knows what of it is on the disk. */
  private async makeOnce(file: string, header: Buffer): Promise<File> {
    const making = path.join(this.directory, makingName);
    const handle = await this.reusedOrCreated(making);
    try {
      await handle.write(header, 0, header.length, 0);
      await handle.sync();
      await this.fileSystem.rename(making, file);
      await this.fileSystem.syncDirectory(this.directory);
      return handle;
    } catch (error) {
      this.made--;
      await handle.close().catch(() => undefined);
      throw error;
    }
  }

  private async reusedOrCreated(making: string): Promise<File> {
    for (;;) {
      const room = this.roomChange();
      const reused = await this.reuseOldest(making);
      if (reused !== undefined) return reused;
      // a replay that ends with a full file can't wait: what is free is known only after it
      if (this.made < this.filesMax || this.writingIn === -1 || this.beyondMax) return this.create(making);
      if (this.stopped || (this.closing && this.room.refusal !== undefined)) {
        throw new MillraceError("JOURNAL_CLOSED", "The queues' journal is closed.", { domain: "internal" });
      }
      await room;
    }
  }

  /** From the moment on that its old name is durably gone, its content is nobody's. */
  private async reuseOldest(making: string): Promise<File | undefined> {
    for (;;) {
      const reused = await this.takeFree(1, async (oldest) => {
        if (oldest.damaged) return this.putAside(oldest);
        // of a try that failed its name is taken already
        if (oldest.failed || (await this.fileSystem.stat(oldest.path)) === undefined) return this.remove(oldest);
        await this.fileSystem.rename(oldest.path, making);
        await this.fileSystem.syncDirectory(this.directory);
        return oldest.ready;
      });
      if (reused !== "gone") return reused;
    }
  }

  private async create(making: string): Promise<File> {
    await removeIfThere(this.fileSystem, making);
    // a start, and what was taken already and has to go into another file, may use the reserve
    if (this.writingIn !== -1 && !this.beyondMax) await this.space.take(this.fileBytes);
    const handle = await createZeroFilled(this.fileSystem, making, this.fileBytes);
    this.made++;
    return handle;
  }

  private roomChange(): Promise<void> {
    return new Promise((resolve) => this.roomWaiters.push(resolve));
  }

  private roomChanged(): void {
    for (const resolve of this.roomWaiters.splice(0)) resolve();
  }

  private tidy(): void {
    if (this.roomWaiters.length > 0) this.roomChanged();
    if (this.tidying || this.stopped || this.free(freeFilesMax + 1) === undefined) return;
    this.tidying = true;
    this.work = this.work
      .then(() => this.removeFree())
      .catch((error: unknown) => {
        this.logger.warn("could not remove a free file of the journal; trying again", { directory: this.directory, error });
        this.clock.after(retryAfterMs, () => this.tidy());
      })
      .finally(() => {
        this.tidying = false;
      });
  }

  private async removeFree(): Promise<void> {
    const leave = (file: JournalFile): Promise<unknown> => (file.damaged ? this.putAside(file) : this.remove(file));
    while ((await this.takeFree(freeFilesMax + 1, leave)) !== undefined);
  }

  /** @param leave durably; if it fails, it is called again later */
  private async takeFree<T>(atLeast: number, leave: (oldest: JournalFile) => Promise<T>): Promise<T | undefined> {
    if (this.stopped || this.free(atLeast) === undefined) return undefined;
    const freeing = this.hooks.beforeFree().then(async () => {
      // nobody pins a free file any more: it is still the one
      const oldest = this.list[0] as JournalFile;
      const left = await leave(oldest);
      this.list.shift();
      this.hooks.changed(); // the next oldest may have to move
      return left;
    });
    this.freeing = freeing.catch(() => undefined);
    return freeing;
  }

  private async remove(file: JournalFile): Promise<"gone"> {
    const handle = await file.ready;
    await removeIfThere(this.fileSystem, file.path);
    await this.fileSystem.syncDirectory(this.directory);
    this.made--;
    await handle.close().catch(() => undefined);
    return "gone";
  }

  private async putAside(file: JournalFile): Promise<"gone"> {
    if ((await this.fileSystem.stat(file.path)) !== undefined) await this.fileSystem.rename(file.path, file.path + damagedSuffix);
    return this.remove(file);
  }

  /** The oldest file, if so many of the oldest ones in a row are free. */
  private free(atLeast: number): JournalFile | undefined {
    if (this.held) return undefined;
    for (let n = 0; n < atLeast; n++) {
      const file = this.list[n];
      if (file === undefined || file.pins > 0 || file.sequence >= this.writingIn) return undefined;
    }
    return this.list[0];
  }
}
