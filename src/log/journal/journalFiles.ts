import path from "node:path";
import type { Clock } from "../../base/clock.ts";
import { assert, MillraceError } from "../../base/errors.ts";
import type { File, FileSystem } from "../../base/fileSystem.ts";
import type { Logger } from "../../base/logger.ts";
import { corrupt, decodeFileHeader, encodeFileHeader, type FileHeader, fileHeaderBytes } from "./format.ts";
import { JournalFile } from "./journalFile.ts";

const fileName = /^(\d+)\.journal$/;
const makingName = "next.spare";
const retryAfterMs = 1000;
const zeros = Buffer.alloc(1024 * 1024);
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
  /** Oldest first, without gaps in the sequence. */
  private readonly list: JournalFile[] = [];
  /** After the list: made, and nothing written in them yet. */
  private readonly spares: JournalFile[] = [];
  /** One step at a time, so that the order on the disk is the order here. */
  private work: Promise<unknown> = Promise.resolve();
  private stopped = false;
  private tidying = false;
  private closing = false;
  /** While something is moved out of a file, or from segment to segment, no file goes. */
  private held = false;
  private freeing: Promise<unknown> = Promise.resolve();
  private roomWaiters: (() => void)[] = [];
  /** Files on the disk. */
  private made = 0;
  /** What the disk has no room for: the next file, or the segment that would make room in the journal. */
  private readonly lacking = new Set<"file" | "segment">();
  hooks: JournalFilesHooks = { beforeFree: async () => undefined, changed: () => undefined };
  /** Files from this sequence on are not free, whatever their pins: the writer is there. -1: the replay is not over. */
  writingIn = -1;

  private constructor(
    private readonly fileSystem: FileSystem,
    private readonly directory: string,
    readonly fileBytes: number,
    /** So many there are at most; who needs one more waits until one is free. */
    readonly filesMax: number,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  /** Opens what is there; of another `fileBytes` than asked for the files on the disk are right, since they give the positions. */
  static async open(fileSystem: FileSystem, directory: string, limits: JournalLimits, clock: Clock, logger: Logger): Promise<JournalFiles> {
    const names = await fileSystem.list(directory);
    if (names.includes(makingName)) await fileSystem.removeFile(path.join(directory, makingName));
    const sequences = names.flatMap((name) => fileName.exec(name)?.[1] ?? []).map(Number);
    sequences.sort((a, b) => a - b);
    const opened: { handle: File; header: FileHeader; file: string }[] = [];
    try {
      for (const sequence of sequences) {
        const file = path.join(directory, nameOf(sequence));
        const handle = await fileSystem.open(file, "write");
        opened.push({ handle, file, header: await readHeader(handle, file, sequence) });
      }
      checkSequence(opened);
    } catch (error) {
      for (const { handle } of opened) await handle.close();
      throw error;
    }
    const fileBytes = opened[0]?.header.fileBytes ?? limits.fileBytes;
    const filesMax = Math.max(filesMin, Math.floor(limits.bytesMax / fileBytes));
    const files = new JournalFiles(fileSystem, directory, fileBytes, filesMax, clock, logger);
    for (const { handle, file, header } of opened) {
      files.list.push(new JournalFile(header.sequence, header.crc, file, Promise.resolve(handle), () => files.tidy()));
    }
    files.made = opened.length;
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
    const file = this.list[sequence - first];
    if (file === undefined && sequence >= first) assert(false, `journal file ${sequence} is in use`); // hot: no text before it is needed
    return file;
  }

  damagedPathOf(sequence: number): string {
    return path.join(this.directory, nameOf(sequence) + damagedSuffix);
  }

  /** After the replay: these came after the one to go on in, and are empty. */
  setAside(count: number): void {
    this.spares.push(...this.list.splice(this.list.length - count));
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

  /** Nothing but acknowledgements is to be written: what is left of the current file is for them. */
  get outOfSpace(): boolean {
    return this.lacking.size > 0;
  }

  foundFull(forWhat: "file" | "segment", cause: unknown): void {
    const { directory } = this;
    if (this.lacking.size === 0) this.logger.error("the disk is full: queues take no messages until there is room", { directory, cause });
    this.lacking.add(forWhat);
  }

  foundRoom(forWhat: "file" | "segment"): void {
    if (!this.lacking.delete(forWhat) || this.lacking.size > 0) return;
    this.logger.info("there is room on the disk again: queues take messages", { directory: this.directory });
  }

  /** Nobody waits for room any more. */
  giveUpWaiting(): void {
    this.closing = true;
    this.roomChanged();
  }

  /** While held: the oldest file has damage in it, and what could be saved was. It is put aside, for whoever wants to look. */
  async putOldestAside(): Promise<void> {
    const oldest = this.list[0] as JournalFile;
    await this.hooks.beforeFree();
    await this.fileSystem.rename(oldest.path, oldest.path + damagedSuffix);
    await this.fileSystem.syncDirectory(this.directory);
    this.list.shift();
    this.made--;
    const handle = await oldest.ready;
    await handle.close();
  }

  async syncDirectory(): Promise<void> {
    await this.fileSystem.syncDirectory(this.directory);
  }

  async close(): Promise<void> {
    this.stopped = true;
    this.giveUpWaiting();
    await this.work;
    for (const file of [...this.list, ...this.spares]) {
      const handle = await file.ready.catch(() => undefined);
      await handle?.close();
    }
  }

  private plan(): JournalFile {
    const sequence = (this.spares.at(-1) ?? this.list.at(-1))?.sequence ?? 0;
    const header = encodeFileHeader(sequence + 1, this.fileBytes);
    const file = path.join(this.directory, nameOf(sequence + 1));
    const ready = this.work.then(() => this.make(file, header));
    this.work = ready.catch(() => undefined);
    return new JournalFile(sequence + 1, header.readUInt32LE(24), file, ready, () => this.tidy());
  }

  private async make(file: string, header: Buffer): Promise<File> {
    const making = path.join(this.directory, makingName);
    const handle = await this.reusedOrCreated(making);
    try {
      await handle.write(header, 0, header.length, 0);
      await handle.sync();
      await this.fileSystem.rename(making, file);
      await this.fileSystem.syncDirectory(this.directory);
      return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  private async reusedOrCreated(making: string): Promise<File> {
    for (;;) {
      // before the look, so that what becomes free meanwhile is not missed
      const room = new Promise<void>((resolve) => this.roomWaiters.push(resolve));
      const reused = await this.reuseOldest(making);
      if (reused !== undefined) {
        this.foundRoom("file");
        return reused;
      }
      // a replay that ends with a full file can't wait: what is free is known only after it
      if (!this.closing && (this.made < this.filesMax || this.writingIn === -1)) {
        const created = await this.createIfRoom(making);
        if (created !== undefined) return created;
      }
      if (this.closing) throw new MillraceError("JOURNAL_CLOSED", "The queues' journal is closed.", { domain: "internal" });
      await room;
    }
  }

  /** From the moment on that its old name is durably gone, its content is nobody's. */
  private async reuseOldest(making: string): Promise<File | undefined> {
    return this.takeFree(1, async (oldest) => {
      const handle = await oldest.ready;
      try {
        await this.fileSystem.rename(oldest.path, making);
        await this.fileSystem.syncDirectory(this.directory);
        return handle;
      } catch (error) {
        await handle.close();
        throw error;
      }
    });
  }

  /** Undefined: the disk is full. The try that failed has left what it took, and that is all that may be left. */
  private async createIfRoom(making: string): Promise<File | undefined> {
    try {
      const created = await this.create(making);
      this.foundRoom("file");
      return created;
    } catch (error) {
      if (!isDiskFull(error) || this.writingIn === -1) throw error;
      this.foundFull("file", error);
      this.clock.after(retryAfterMs, () => this.roomChanged());
      return undefined;
    }
  }

  private async create(making: string): Promise<File> {
    const handle = await this.fileSystem.open(making, "create");
    try {
      for (let at = 0; at < this.fileBytes; at += zeros.length) {
        await handle.write(zeros, 0, Math.min(zeros.length, this.fileBytes - at), at);
      }
      this.made++;
      return handle;
    } catch (error) {
      await handle.close();
      await this.fileSystem.removeFile(making).catch(() => undefined);
      throw error;
    }
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
        this.stopped = true; // the order on the disk is not known any more, so nothing more is removed or reused
        this.logger.warn("could not remove a free file of the journal", { directory: this.directory, error });
      })
      .finally(() => {
        this.tidying = false;
      });
  }

  private async removeFree(): Promise<void> {
    const remove = async (file: JournalFile): Promise<true> => {
      await (await file.ready).close();
      await this.fileSystem.removeFile(file.path);
      this.made--;
      await this.fileSystem.syncDirectory(this.directory);
      return true;
    };
    while ((await this.takeFree(freeFilesMax + 1, remove)) !== undefined);
  }

  private async takeFree<T>(atLeast: number, then: (oldest: JournalFile) => Promise<T>): Promise<T | undefined> {
    if (this.stopped || this.free(atLeast) === undefined) return undefined;
    const freeing = this.hooks.beforeFree().then(() => {
      // nobody pins a free file any more: it is still the one
      const oldest = this.list.shift() as JournalFile;
      return then(oldest);
    });
    this.freeing = freeing.catch(() => undefined);
    return freeing;
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

/** Of the file system, or of the user's part of it. */
export const isDiskFull = (error: unknown): boolean => ["ENOSPC", "EDQUOT"].includes((error as NodeJS.ErrnoException).code ?? "");

function nameOf(sequence: number): string {
  return `${String(sequence).padStart(12, "0")}.journal`;
}

async function readHeader(handle: File, file: string, sequence: number): Promise<FileHeader> {
  const bytes = Buffer.alloc(fileHeaderBytes);
  const header = decodeFileHeader(bytes.subarray(0, await handle.read(bytes, 0, bytes.length, 0)), file);
  if (header.sequence !== sequence) throw corrupt(file, `the file's header says that it is number ${header.sequence}`);
  if ((await handle.bytes()) < header.fileBytes) throw corrupt(file, "the file was cut short");
  return header;
}

function checkSequence(opened: readonly { header: FileHeader; file: string }[]): void {
  for (let n = 1; n < opened.length; n++) {
    const before = opened[n - 1]?.header as FileHeader;
    const { header, file } = opened[n] as { header: FileHeader; file: string };
    if (header.sequence !== before.sequence + 1) throw corrupt(file, `no file with number ${before.sequence + 1} comes before it`);
    if (header.fileBytes !== before.fileBytes) throw corrupt(file, "the file has another size than the one before it");
  }
}
