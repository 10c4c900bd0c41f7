import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import { lastOffsetAt, maxTimestampAt } from "../../../record/batchHeader.ts";
import { markBatch } from "../../../record/batchMark.ts";
import type { DiskSpace } from "../diskSpace.ts";
import { CLEANED_SUFFIX, isCleanedFile } from "../segment/names.ts";
import { Segment } from "../segment/segment.ts";
import type { Slices } from "./slices.ts";

const WRITE_BYTES = 512 * 1024;
/** A sync of more than this would hold up those of the appends. */
const SYNC_EVERY_BYTES = 16 * 1024 * 1024;

/**
 * A segment as compaction writes it, with its indexes, under names that nobody takes for a segment's until `segmentReplacement` gives them.
 */
export class CleanedSegment {
  private chunk = Buffer.allocUnsafeSlow(WRITE_BYTES);
  private filled = 0;
  private unsynced = 0;

  private constructor(
    private readonly segment: Segment,
    private readonly space: DiskSpace,
    private readonly slices: Slices,
  ) {}

  static async create(
    fileSystem: FileSystem,
    folder: string,
    baseOffset: number,
    space: DiskSpace,
    slices: Slices,
  ): Promise<CleanedSegment> {
    return new CleanedSegment(await Segment.create(fileSystem, folder, baseOffset, CLEANED_SUFFIX), space, slices);
  }

  get bytes(): number {
    return this.segment.bytes + this.filled;
  }

  /** Is there room for so many bytes before the next `write`? */
  fits(bytes: number): boolean {
    return this.filled + bytes <= this.chunk.length;
  }

  /** A whole batch, that fits. */
  add(bytes: Buffer, at: number, end: number): void {
    this.segment.noteBatch(lastOffsetAt(bytes, at), this.bytes, maxTimestampAt(bytes, at));
    bytes.copy(this.chunk, this.filled, at, end);
    markBatch(this.chunk, this.filled, false);
    this.filled += end - at;
  }

  /** Writes what was added, and makes room for a batch of so many bytes. */
  async write(roomBytes: number): Promise<void> {
    const { filled } = this;
    await this.space.take(filled);
    await this.segment.write(this.chunk.subarray(0, filled), false);
    this.filled = 0;
    this.unsynced += filled;
    if (this.unsynced >= SYNC_EVERY_BYTES) {
      await this.segment.sync();
      this.unsynced = 0;
    }
    await this.slices.moved(filled);
    if (roomBytes > this.chunk.length) this.chunk = Buffer.allocUnsafeSlow(roomBytes);
  }

  /** All of it on the disk, but for its names. */
  async finish(): Promise<void> {
    if (this.filled > 0) await this.write(0);
    await this.segment.sync();
    await this.segment.syncIndexes();
  }

  close(): Promise<void> {
    return this.segment.close();
  }
}

/** What a compaction left that did not come to its end. */
export async function removeCleanedFiles(fileSystem: FileSystem, folder: string): Promise<void> {
  for (const name of await fileSystem.list(folder)) {
    if (isCleanedFile(name)) await fileSystem.removeFile(path.join(folder, name));
  }
}
