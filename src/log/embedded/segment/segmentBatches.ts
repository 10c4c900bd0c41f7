import path from "node:path";
import { closedIfFails } from "../../../base/closing.ts";
import { crc32cFollowedBy } from "../../../base/crc32c.ts";
import { MillraceError } from "../../../base/errors.ts";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import { BATCH_HEADER_BYTES, baseOffsetAt, batchBytesAt, CRC_COVERS_FROM, lastOffsetAt } from "../../../record/batchHeader.ts";
import { offsetProblem } from "../../../record/batchMark.ts";
import { checksumProblem, validateBatch, validateBatchShape } from "../../../record/validateBatch.ts";
import { logFileName } from "./names.ts";

/** Read at a time, and of a larger batch summed at a time: the CRC of 16 MiB takes 5 ms. */
const READ_BYTES = 512 * 1024;

/**
 * Whole batches of a segment that is not written any more, one after the other through one buffer, each with its CRC checked; none
 * that belongs to the next segment. Bad bytes are LOG_CORRUPT, and so are batches that do not follow each other or do not reach to the
 * next segment: an older release's batches have no checksum of their offsets, and what seems to be no part of the segment would be left
 * out of the new one.
 *
 *     for (;;) {
 *       if (batches.next()) use(batches.bytes, batches.at, batches.end);
 *       else if ((await batches.fill()) === 0) break;
 *     }
 */
export class SegmentBatches {
  at = 0;
  private buffer = Buffer.alloc(0);
  private nextAt = 0;
  private filled = 0;
  /** Where the buffer lies in the file. */
  private position = 0;
  /** Where the batch before ended. */
  private nextOffset: number;
  /** Of a batch that is larger than a read, and begins the buffer: the CRC of what is there of it, which ends here. */
  private sum = 0;
  private summedTo = CRC_COVERS_FROM;

  private constructor(
    private readonly name: string,
    private readonly file: File,
    private readonly fileBytes: number,
    baseOffset: number,
    private readonly nextBase: number,
  ) {
    this.nextOffset = baseOffset;
  }

  static async open(fileSystem: FileSystem, folder: string, baseOffset: number, nextBase: number): Promise<SegmentBatches> {
    const name = path.join(folder, logFileName(baseOffset));
    const file = await fileSystem.open(name, "read");
    const fileBytes = await closedIfFails(file, () => file.bytes());
    return new SegmentBatches(name, file, fileBytes, baseOffset, nextBase);
  }

  get bytes(): Buffer {
    return this.buffer;
  }

  /** The end of the batch in `bytes`. */
  get end(): number {
    return this.nextAt;
  }

  /** To the next batch; false: it is not in the buffer. */
  next(): boolean {
    const { buffer, filled, nextAt: at } = this;
    if (filled - at < BATCH_HEADER_BYTES) return false;
    const shape = validateBatchShape(buffer, at, filled) ?? offsetProblem(buffer, at);
    if (shape !== undefined) throw this.corrupt(at, shape);
    if (at + batchBytesAt(buffer, at) > filled || baseOffsetAt(buffer, at) >= this.nextBase) return false;
    const isSummed = at === 0 && this.summedTo === batchBytesAt(buffer, 0);
    const problem = isSummed ? checksumProblem(buffer, 0, this.sum) : validateBatch(buffer, at, filled);
    if (problem !== undefined) throw this.corrupt(at, problem);
    if (baseOffsetAt(buffer, at) < this.nextOffset) throw this.corrupt(at, `its offset is below ${this.nextOffset}`);
    this.nextOffset = lastOffsetAt(buffer, at) + 1;
    this.at = at;
    this.nextAt = at + batchBytesAt(buffer, at);
    return true;
  }

  /** Reads on, after `next` was false: it may be false again. Returns how many bytes; 0 at the segment's end. */
  async fill(): Promise<number> {
    const { nextAt, filled, fileBytes } = this;
    const rest = filled - nextAt;
    const left = fileBytes - this.position - nextAt;
    if (left === 0) return this.ended();
    let wanted = READ_BYTES;
    if (rest >= BATCH_HEADER_BYTES) {
      if (baseOffsetAt(this.buffer, nextAt) >= this.nextBase) return this.ended();
      wanted = Math.max(wanted, batchBytesAt(this.buffer, nextAt));
    }
    if (wanted > left && rest === left) throw this.corrupt(nextAt, "it ends after the file");
    this.begin(Math.min(wanted, left));
    const length = Math.min(READ_BYTES, Math.min(wanted, left) - rest);
    const read = await this.file.read(this.buffer, rest, length, this.position + rest);
    this.filled = rest + read;
    if (read < length) throw this.corrupt(0, "the file ends before its size");
    if (wanted > READ_BYTES) this.sumUp();
    return read;
  }

  /** What is there of the next batch begins the buffer, which has room for so many bytes. */
  private begin(room: number): void {
    const { buffer, nextAt, filled } = this;
    if (buffer.length < room) {
      this.buffer = Buffer.allocUnsafeSlow(room);
      buffer.copy(this.buffer, 0, nextAt, filled);
    } else if (nextAt > 0) {
      buffer.copyWithin(0, nextAt, filled);
    }
    if (nextAt > 0) this.summedTo = CRC_COVERS_FROM;
    this.position += nextAt;
    this.filled -= nextAt;
    this.nextAt = 0;
  }

  private sumUp(): void {
    if (this.summedTo === CRC_COVERS_FROM) this.sum = 0;
    this.sum = crc32cFollowedBy(this.sum, this.buffer.subarray(this.summedTo, this.filled));
    this.summedTo = this.filled;
  }

  private ended(): number {
    if (this.nextOffset !== this.nextBase)
      throw this.corrupt(this.nextAt, `offsets ${this.nextOffset} to ${this.nextBase - 1} are missing`);
    return 0;
  }

  close(): Promise<void> {
    return this.file.close();
  }

  private corrupt(at: number, cause: unknown): MillraceError {
    return new MillraceError("LOG_CORRUPT", "A segment of the log is damaged.", {
      domain: "external",
      where: `${this.name} at byte ${this.position + at}`,
      cause,
      hint: "Bring the partition's folder back from a backup; until then the partition is not compacted.",
    });
  }
}
