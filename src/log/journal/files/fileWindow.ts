import type { File } from "../../../base/fileSystem.ts";

/** Read at once; an entry that is larger gets a buffer of its own size. */
const chunkBytes = 1024 * 1024;
/** Of an entry that two chunks share, so much is copied in front of the second one; of more, the first part is read again. */
const carriedBytesMax = 128 * 1024;

/** A chunk that is read while the one before it is worked on. */
interface Ahead {
  /** With room for what is carried over at its beginning. */
  readonly bytes: Buffer;
  readonly start: number;
  readonly read: Promise<number>;
}

/** The part of a file that is in memory; it moves forward. */
export class FileWindow {
  bytes: Buffer = Buffer.alloc(0);
  start = 0;
  private end = 0;
  private ahead: Ahead | undefined;
  private spare: Buffer | undefined;

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

  /**
   * The same for who goes through the whole file: the next chunk is read while this one is worked on. Then `idle` comes before the file is
   * closed.
   */
  async advance(offset: number, length: number): Promise<boolean> {
    const { ahead } = this;
    const carried = this.end - offset;
    if (ahead?.start === this.end && carried >= 0 && carried <= carriedBytesMax) {
      this.ahead = undefined;
      const read = await ahead.read;
      this.bytes.copy(ahead.bytes, carriedBytesMax - carried, offset - this.start, this.end - this.start);
      this.spare = this.bytes.length === ahead.bytes.length ? this.bytes : undefined;
      this.bytes = ahead.bytes;
      this.start = ahead.start - carriedBytesMax;
      this.end = ahead.start + read;
    } else {
      await this.idle();
      await this.load(offset, length);
    }
    this.readAhead();
    return this.holds(offset, length) || this.load(offset, length);
  }

  /** Nothing is being read any more. */
  async idle(): Promise<void> {
    await this.ahead?.read.catch(() => undefined);
    this.ahead = undefined;
  }

  private readAhead(): void {
    const start = this.end;
    const size = Math.min(chunkBytes, this.fileBytes - start);
    if (size <= 0) return;
    const bytes = this.spare ?? Buffer.allocUnsafeSlow(carriedBytesMax + chunkBytes);
    const read = this.handle.read(bytes, carriedBytesMax, size, start);
    read.catch(() => undefined); // who needs it hears of it
    this.ahead = { bytes, start, read };
  }
}
