import type { File } from "../../../base/fileSystem.ts";

/**
 * A batch that is being written and synced behind the end of a file, of which all is synced, while it is still looked at. If it is taken, the
 * file ends behind it; else the file is cut before anything else is written: until then what lies there is nothing but a torn end.
 */
export class AheadWrite {
  /** It is not taken. */
  left = false;
  private readonly over: Promise<unknown>;

  private constructor(
    private readonly file: File,
    readonly bytes: Buffer,
    private readonly position: number,
    readonly written: Promise<void>,
  ) {
    this.over = written.catch(() => undefined); // who takes it gets the failure
  }

  static begin(file: File, bytes: Buffer, position: number): AheadWrite {
    return new AheadWrite(file, bytes, position, file.writeSynced(bytes, 0, bytes.length, position));
  }

  isOf(bytes: Buffer): boolean {
    const { buffer, byteOffset, length } = this.bytes;
    return buffer === bytes.buffer && byteOffset === bytes.byteOffset && length === bytes.length;
  }

  /** Synced: a loss of power must not bring it back when the segment has a next one. */
  async cut(): Promise<void> {
    await this.written;
    await this.file.truncate(this.position);
    await this.file.sync();
  }

  /** Written or failed: the file may be closed. */
  async ended(): Promise<void> {
    await this.over;
  }
}
