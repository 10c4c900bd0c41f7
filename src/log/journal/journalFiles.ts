import path from "node:path";
import { assert } from "../../base/errors.ts";
import type { File, FileSystem } from "../../base/fileSystem.ts";
import type { Logger } from "../../base/logger.ts";
import { corrupt, decodeFileHeader, encodeFileHeader, type FileHeader, fileHeaderBytes } from "./format.ts";
import { JournalFile } from "./journalFile.ts";

const fileName = /^(\d+)\.journal$/;
const makingName = "next.spare";
const zeros = Buffer.alloc(1024 * 1024);
/** Files in which nothing lives any more and that are kept for reuse; more of them are removed. */
const freeFilesMax = 2;

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
  /** Files from this sequence on are not free, whatever their pins: the writer is there. -1: the replay is not over. */
  private writingIn = -1;

  private constructor(
    private readonly fileSystem: FileSystem,
    private readonly directory: string,
    readonly fileBytes: number,
    private readonly logger: Logger,
  ) {}

  /** Opens what is there; of another `fileBytes` than asked for the files on the disk are right, since they give the positions. */
  static async open(fileSystem: FileSystem, directory: string, fileBytes: number, logger: Logger): Promise<JournalFiles> {
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
    const files = new JournalFiles(fileSystem, directory, opened[0]?.header.fileBytes ?? fileBytes, logger);
    for (const { handle, file, header } of opened) {
      files.list.push(new JournalFile(header.sequence, header.crc, file, Promise.resolve(handle)));
    }
    return files;
  }

  get all(): readonly JournalFile[] {
    return this.list;
  }

  get count(): number {
    return this.list.length + this.spares.length;
  }

  at(sequence: number): JournalFile {
    const file = this.list[sequence - (this.list[0]?.sequence ?? 0)];
    if (file === undefined) assert(false, `journal file ${sequence} is in use`); // hot: no text before it is needed
    return file;
  }

  /** After the replay: these came after the one to go on in, and are empty. */
  setAside(count: number): void {
    this.spares.push(...this.list.splice(this.list.length - count));
  }

  /** The next file to write in; it may not be ready yet. */
  next(): JournalFile {
    const file = this.spares.shift() ?? this.plan();
    this.list.push(file);
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
  }

  unpin(file: JournalFile): void {
    if (file.pins <= 0) assert(false, `journal file ${file.sequence} is released only as often as it was pinned`);
    if (--file.pins === 0) this.tidy();
  }

  async syncDirectory(): Promise<void> {
    await this.fileSystem.syncDirectory(this.directory);
  }

  async close(): Promise<void> {
    this.stopped = true;
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
    return new JournalFile(sequence + 1, header.readUInt32LE(24), file, ready);
  }

  private async make(file: string, header: Buffer): Promise<File> {
    const making = path.join(this.directory, makingName);
    const handle = (await this.reuseOldest(making)) ?? (await this.create(making));
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

  /** From the moment on that its old name is durably gone, its content is nobody's. */
  private async reuseOldest(making: string): Promise<File | undefined> {
    const oldest = this.takeFree(1);
    if (oldest === undefined) return undefined;
    const handle = await oldest.ready;
    try {
      await this.fileSystem.rename(oldest.path, making);
      await this.fileSystem.syncDirectory(this.directory);
      return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  private async create(making: string): Promise<File> {
    const handle = await this.fileSystem.open(making, "create");
    try {
      for (let at = 0; at < this.fileBytes; at += zeros.length) {
        await handle.write(zeros, 0, Math.min(zeros.length, this.fileBytes - at), at);
      }
      return handle;
    } catch (error) {
      await handle.close();
      await this.fileSystem.removeFile(making).catch(() => undefined);
      throw error;
    }
  }

  private tidy(): void {
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
    for (let file = this.takeFree(freeFilesMax + 1); file !== undefined; file = this.takeFree(freeFilesMax + 1)) {
      await (await file.ready).close();
      await this.fileSystem.removeFile(file.path);
      await this.fileSystem.syncDirectory(this.directory);
    }
  }

  private takeFree(atLeast: number): JournalFile | undefined {
    const oldest = this.stopped ? undefined : this.free(atLeast);
    if (oldest !== undefined) this.list.shift();
    return oldest;
  }

  /** The oldest file, if so many of the oldest ones in a row are free. */
  private free(atLeast: number): JournalFile | undefined {
    for (let n = 0; n < atLeast; n++) {
      const file = this.list[n];
      if (file === undefined || file.pins > 0 || file.sequence >= this.writingIn) return undefined;
    }
    return this.list[0];
  }
}

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
