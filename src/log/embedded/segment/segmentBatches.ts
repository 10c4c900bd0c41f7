import path from "node:path";
import { closedIfFails } from "../../../base/closing.ts";
import { MillraceError } from "../../../base/errors.ts";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import { BATCH_HEADER_BYTES, baseOffsetAt, batchBytesAt, lastOffsetAt } from "../../../record/batchHeader.ts";
import { offsetProblem } from "../../../record/batchMark.ts";
import { validateBatch, validateBatchShape } from "../../../record/validateBatch.ts";
import { logFileName } from "./names.ts";

const READ_BYTES = 512 * 1024;

/**
 * Whole batches of a segment that is not written any more, one after the other through one buffer, each with its CRC checked; none
 * that belongs to the next segment. Bad bytes are LOG_CORRUPT, and so are batches that do not follow each other or do not reach to the
 * next segment: an older release's batches have no checksum of their offsets, and what seems to be no part of the segment would be left
 * out of the new one.
 *
 *     while (batches.next() || (await batches.fill() && batches.next())) use(batches.bytes, batches.at);
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
    const problem = validateBatch(buffer, at, filled);
    if (problem !== undefined) throw this.corrupt(at, problem);
    if (baseOffsetAt(buffer, at) < this.nextOffset) throw this.corrupt(at, `its offset is below ${this.nextOffset}`);
    this.nextOffset = lastOffsetAt(buffer, at) + 1;
    this.at = at;
    this.nextAt = at + batchBytesAt(buffer, at);
    return true;
  }

  /** Reads on, after `next` was false. Returns how many bytes; 0 at the segment's end. */
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
    this.position += nextAt;
    if (this.buffer.length < Math.min(wanted, left)) {
      const larger = Buffer.allocUnsafeSlow(Math.min(wanted, left));
      this.buffer.copy(larger, 0, nextAt, filled);
      this.buffer = larger;
    } else this.buffer.copyWithin(0, nextAt, filled);
    this.nextAt = 0;
    const length = Math.min(this.buffer.length, left) - rest;
    const read = await this.file.read(this.buffer, rest, length, this.position + rest);
    this.filled = rest + read;
    if (read < length) throw this.corrupt(0, "the file ends before its size");
    return read;
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
