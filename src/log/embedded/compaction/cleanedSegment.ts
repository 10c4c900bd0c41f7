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
  private readonly chunk = Buffer.allocUnsafeSlow(WRITE_BYTES);
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

  /** A whole batch, of which the mark may be set in `bytes`. */
  async add(bytes: Buffer, at: number, end: number): Promise<void> {
    if (this.filled + end - at > this.chunk.length) await this.writeChunk();
    this.segment.noteBatch(lastOffsetAt(bytes, at), this.bytes, maxTimestampAt(bytes, at));
    if (end - at > this.chunk.length) {
      markBatch(bytes, at, false);
      await this.write(bytes.subarray(at, end));
      return;
    }
    bytes.copy(this.chunk, this.filled, at, end);
    markBatch(this.chunk, this.filled, false);
    this.filled += end - at;
  }

  private async writeChunk(): Promise<void> {
    const { filled } = this;
    this.filled = 0;
    await this.write(this.chunk.subarray(0, filled));
  }

  private async write(batches: Buffer): Promise<void> {
    await this.space.take(batches.length);
    await this.segment.write(batches, false);
    this.unsynced += batches.length;
    if (this.unsynced >= SYNC_EVERY_BYTES) {
      await this.segment.sync();
      this.unsynced = 0;
    }
    await this.slices.moved(batches.length);
  }

  /** All of it on the disk, but for its names. */
  async finish(): Promise<void> {
    if (this.filled > 0) await this.writeChunk();
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
