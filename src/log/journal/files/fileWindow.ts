import type { File } from "../../../base/fileSystem.ts";

/** Read at once; an entry that is larger gets a buffer of its own size. */
const chunkBytes = 1024 * 1024;

/** The part of a file that is in memory; it moves forward. */
export class FileWindow {
  bytes = Buffer.alloc(0);
  start = 0;
  private end = 0;

  constructor(
    private readonly handle: File,
    private readonly fileBytes: number,
  ) {}

  get loadedBytes(): number {
    return this.end - this.start;
  }

  holds(offset: number, length: number): boolean {
    return offset + length <= this.end;
  }

  /** False: the file is shorter. */
  async load(offset: number, length: number): Promise<boolean> {
    if (length > this.fileBytes - offset) return false;
    const size = Math.min(Math.max(chunkBytes, length), this.fileBytes - offset);
    if (size > this.bytes.length) this.bytes = Buffer.allocUnsafe(size);
    this.start = offset;
    this.end = offset + (await this.handle.read(this.bytes, 0, size, offset));
    return this.holds(offset, length);
  }
}
