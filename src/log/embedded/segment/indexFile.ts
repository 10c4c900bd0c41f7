import { closedIfFails } from "../../../base/closing.ts";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import { undefinedIfMissing } from "../../../base/systemError.ts";

/** Entries wait in memory until they stand for so much log: a reader that seeks scans at most about this much past the index. */
const WRITE_EVERY_LOG_BYTES = 1024 * 1024;

/** Two numbers, as the index means them; both ascend from entry to entry. */
export interface IndexEntry {
  readonly first: number;
  readonly second: number;
}

/** How an index's entries lie in its file: a fixed number of bytes each. */
export interface IndexLayout {
  readonly entryBytes: number;
  encode(into: Buffer, at: number, first: number, second: number): void;
  first(bytes: Buffer, at: number): number;
  second(bytes: Buffer, at: number): number;
}

/** The writing side of an index file: entries gather and are written at its end now and then. */
export class IndexFile {
  private pending: number[] = [];
  private writtenAtLogBytes = 0;

  private constructor(
    private readonly file: File,
    private readonly layout: IndexLayout,
    private entryCount: number,
  ) {}

  /** Goes on after the first `entryCount` entries of the file; makes it if it is not there. */
  static async open(fileSystem: FileSystem, path: string, layout: IndexLayout, entryCount: number): Promise<IndexFile> {
    const exists = (await fileSystem.stat(path)) !== undefined;
    const file = await fileSystem.open(path, exists ? "write" : "create");
    if (exists) await closedIfFails(file, () => file.truncate(entryCount * layout.entryBytes));
    return new IndexFile(file, layout, entryCount);
  }

  add(first: number, second: number): void {
    this.pending.push(first, second);
  }

  /** Is what waits worth a write? */
  isDue(logBytes: number): boolean {
    return this.pending.length > 0 && logBytes - this.writtenAtLogBytes >= WRITE_EVERY_LOG_BYTES;
  }

  async writeIfDue(logBytes: number): Promise<void> {
    if (!this.isDue(logBytes)) return;
    this.writtenAtLogBytes = logBytes;
    await this.write();
  }

  async write(): Promise<void> {
    const { pending, layout } = this;
    if (pending.length === 0) return;
    this.pending = [];
    const { entryBytes } = layout;
    const count = pending.length / 2;
    const bytes = Buffer.allocUnsafe(count * entryBytes);
    for (let i = 0; i < count; i++) layout.encode(bytes, i * entryBytes, pending[2 * i] as number, pending[2 * i + 1] as number);
    await this.file.write(bytes, 0, bytes.length, this.entryCount * entryBytes);
    this.entryCount += count;
  }

  async sync(): Promise<void> {
    await this.write();
    await this.file.sync();
  }

  close(): Promise<void> {
    return this.file.close();
  }
}

/** A whole index file; undefined if there is none. */
export function readIndexFile(fileSystem: FileSystem, path: string): Promise<Buffer | undefined> {
  return fileSystem.readFile(path).catch(undefinedIfMissing);
}
