import path from "node:path";
import type { File, FileSystem } from "../../base/fileSystem.ts";
import { logFileName } from "./names.ts";
import { OffsetIndex } from "./offsetIndex.ts";

/** The segment that a partition writes: its file of batches, and its index. Rolled ones are files only. */
export class Segment {
  private constructor(
    readonly baseOffset: number,
    private readonly file: File,
    private readonly index: OffsetIndex,
    private fileBytes: number,
  ) {}

  /** A new one; durable as a name only after the folder was synced. */
  static async create(fileSystem: FileSystem, folder: string, baseOffset: number): Promise<Segment> {
    const file = await fileSystem.open(path.join(folder, logFileName(baseOffset)), "create");
    return new Segment(baseOffset, file, await OffsetIndex.create(fileSystem, folder, baseOffset), 0);
  }

  /** One that recovery has been through: `bytes` of it are good, and `index` knows their batches. */
  static recovered(baseOffset: number, file: File, index: OffsetIndex, bytes: number): Segment {
    return new Segment(baseOffset, file, index, bytes);
  }

  get bytes(): number {
    return this.fileBytes;
  }

  /** Tells the index, before `write`, of a batch at `position` in the file. */
  noteBatch(baseOffset: number, position: number): void {
    this.index.add(baseOffset, position);
  }

  async write(batches: Buffer): Promise<void> {
    await this.file.write(batches, 0, batches.length, this.fileBytes);
    this.fileBytes += batches.length;
    await this.index.writeIfDue(this.fileBytes);
  }

  sync(): Promise<void> {
    return this.file.sync();
  }

  /** What the index gathered so far, for readers that come later. */
  writeIndex(): Promise<void> {
    return this.index.write();
  }

  /** After a failure: takes back what was not acknowledged, as far as the disk still does what it is told. */
  async cutTo(bytes: number): Promise<void> {
    await this.file.truncate(bytes);
    this.fileBytes = bytes;
  }

  async close(): Promise<void> {
    await this.index.close();
    await this.file.close();
  }
}
