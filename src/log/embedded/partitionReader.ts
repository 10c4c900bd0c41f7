import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import type { File, FileSystem } from "../../base/fileSystem.ts";
import { BATCH_HEADER_BYTES, batchBytesAt, lastOffsetAt } from "../../record/batchHeader.ts";
import { validateBatch, validateBatchShape } from "../../record/validateBatch.ts";
import type { PartitionDescriptor, PartitionReader } from "../contract/partitionedLog.ts";
import { baseOffsetsOf, logFileName } from "./names.ts";
import { loadIndex, lookUp } from "./offsetIndex.ts";
import { closedError, deletedError } from "./partitionErrors.ts";
import { scanSegment } from "./segmentScan.ts";
import { type Watermark, WatermarkReader } from "./watermark.ts";

/** What a descriptor carries: the folder, and the memory in which the writer tells how far it is. */
export interface PartitionAccess {
  readonly kind: "embedded";
  readonly folder: string;
  readonly watermark: SharedArrayBuffer;
}

/** In any thread of the process that has the log open. */
export function openPartitionReader(descriptor: PartitionDescriptor, fileSystem: FileSystem): PartitionReader {
  const access = descriptor.access as PartitionAccess;
  if (access?.kind !== "embedded") {
    throw new MillraceError("DESCRIPTOR_UNKNOWN", "The descriptor was made by another kind of log.", { domain: "internal" });
  }
  return new EmbeddedPartitionReader(descriptor.topic, descriptor.partition, access, fileSystem);
}

/** Remembers where the last read ended, so that reading on costs no search. */
class EmbeddedPartitionReader implements PartitionReader {
  private readonly watermark: WatermarkReader;
  private readonly folder: string;
  private segment: { readonly baseOffset: number; readonly file: File } | undefined;
  private position = 0;
  /** The offset of the batch at `position`; -1: nowhere. */
  private positionOffset = -1;
  private baseOffsets: number[] = [];
  private lastRead: Promise<unknown> = Promise.resolve();
  private closed = false;

  constructor(
    readonly topic: string,
    readonly partition: number,
    access: PartitionAccess,
    private readonly fileSystem: FileSystem,
  ) {
    this.watermark = new WatermarkReader(access.watermark);
    this.folder = access.folder;
  }

  startOffset(): number {
    return this.watermark.read().startOffset;
  }

  highWatermark(): number {
    return this.watermark.read().highWatermark;
  }

  read(offset: number, bytesMax: number): Promise<Buffer> {
    const read = this.lastRead.then(() => this.readNow(offset, bytesMax));
    this.lastRead = read.catch(() => undefined);
    return read;
  }

  async untilAbove(offset: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true, signal: over.signal });
    });
    while (!signal.aborted) {
      const changed = this.watermark.changed();
      if (this.watermark.deleted) throw deletedError(this.where());
      if (this.watermark.read().highWatermark > offset) break;
      await Promise.race([changed, aborted]);
    }
    over.abort();
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.lastRead;
    await this.leaveSegment();
  }

  private async readNow(offset: number, bytesMax: number): Promise<Buffer> {
    if (this.closed) throw closedError(this.where());
    if (this.watermark.deleted) throw deletedError(this.where());
    const mark = this.watermark.read();
    if (offset < mark.startOffset || offset > mark.highWatermark) throw this.outOfRange(offset, mark);
    if (offset === mark.highWatermark) return Buffer.alloc(0);
    try {
      if (this.positionOffset !== offset) await this.seek(offset, mark);
      return await this.readOn(mark, bytesMax);
    } catch (error) {
      this.positionOffset = -1;
      if (this.watermark.deleted) throw deletedError(this.where());
      if ((error as NodeJS.ErrnoException).code === "ENOENT") throw this.outOfRange(offset, mark, error);
      throw error;
    }
  }

  /** Puts `position` on the batch that holds `offset`, or the first one after it. */
  private async seek(offset: number, mark: Watermark): Promise<void> {
    this.positionOffset = -1;
    await this.refreshSegments(mark);
    const base = this.baseOffsets.findLast((base) => base <= offset);
    if (base === undefined) throw this.outOfRange(offset, mark);
    const file = await this.enterSegment(base);
    const limit = await this.limitOf(base, file, mark);
    const entries = await loadIndex(this.fileSystem, this.folder, base, Number.MAX_SAFE_INTEGER);
    const from = lookUp(entries ?? [], offset);
    const { end, problem } = await scanSegment(file, from, limit, false, (bytes, at) =>
      lastOffsetAt(bytes, at) >= offset ? "stop" : undefined,
    );
    if (problem !== undefined) throw this.corrupt(end, problem);
    this.position = end;
    this.positionOffset = offset;
  }

  private async readOn(mark: Watermark, bytesMax: number): Promise<Buffer> {
    for (;;) {
      const { baseOffset, file } = this.segment as { baseOffset: number; file: File };
      const limit = await this.limitOf(baseOffset, file, mark);
      if (this.position < limit) return this.readBatches(file, limit, bytesMax);
      // below the high watermark only a rolled segment can be at its end
      await this.enterNextSegment(baseOffset, mark);
    }
  }

  private async readBatches(file: File, limit: number, bytesMax: number): Promise<Buffer> {
    const available = limit - this.position;
    let buffer = Buffer.allocUnsafeSlow(Math.min(available, Math.max(bytesMax, BATCH_HEADER_BYTES)));
    let length = await file.read(buffer, 0, buffer.length, this.position);
    const shape = validateBatchShape(buffer, 0, length);
    if (shape !== undefined) throw this.corrupt(this.position, shape);
    const firstBytes = batchBytesAt(buffer, 0);
    if (firstBytes > available) throw this.corrupt(this.position, `its length is ${firstBytes}, and ${available} bytes are left`);
    if (firstBytes > buffer.length) {
      buffer = Buffer.allocUnsafeSlow(firstBytes);
      length = await file.read(buffer, 0, firstBytes, this.position);
    }
    let end = 0;
    let nextOffset = this.positionOffset;
    while (end < length) {
      const problem = validateBatch(buffer, end, length);
      if (problem !== undefined) {
        if (end > 0) break; // cut by `bytesMax`; or damaged, then the next read begins with it and says so
        throw this.corrupt(this.position, problem);
      }
      nextOffset = lastOffsetAt(buffer, end) + 1;
      end += batchBytesAt(buffer, end);
    }
    this.position += end;
    this.positionOffset = nextOffset;
    return buffer.subarray(0, end);
  }

  /** Up to where the segment's file may be read: a rolled one whole, the last one up to the high watermark. */
  private async limitOf(baseOffset: number, file: File, mark: Watermark): Promise<number> {
    return baseOffset === mark.activeBaseOffset ? mark.position : file.bytes();
  }

  private async enterNextSegment(current: number, mark: Watermark): Promise<void> {
    await this.refreshSegments(mark);
    const next = this.baseOffsets.find((base) => base > current);
    if (next === undefined || next > mark.activeBaseOffset) {
      throw this.corrupt(this.position, `the segment ends here, and ${mark.highWatermark - 1} was its last offset`);
    }
    if (next !== this.positionOffset) throw this.corrupt(this.position, `offset ${this.positionOffset} is missing, ${next} comes next`);
    await this.enterSegment(next);
    this.position = 0;
  }

  private async refreshSegments(mark: Watermark): Promise<void> {
    if (this.baseOffsets.includes(mark.activeBaseOffset)) return;
    this.baseOffsets = baseOffsetsOf(await this.fileSystem.list(this.folder));
  }

  private async enterSegment(baseOffset: number): Promise<File> {
    if (this.segment?.baseOffset === baseOffset) return this.segment.file;
    await this.leaveSegment();
    const file = await this.fileSystem.open(path.join(this.folder, logFileName(baseOffset)), "read");
    this.segment = { baseOffset, file };
    return file;
  }

  private async leaveSegment(): Promise<void> {
    const { segment } = this;
    this.segment = undefined;
    await segment?.file.close();
  }

  private where(): string {
    return `${this.topic}-${this.partition}`;
  }

  private corrupt(position: number, cause: unknown): MillraceError {
    const file = this.segment === undefined ? this.folder : path.join(this.folder, logFileName(this.segment.baseOffset));
    return new MillraceError("LOG_CORRUPT", "A segment of the log is damaged.", {
      domain: "external",
      where: `${file} at byte ${position}`,
      cause,
      hint: "Bring the file back from a backup; the offsets before it can be read.",
    });
  }

  private outOfRange(offset: number, mark: Watermark, cause?: unknown): MillraceError {
    return new MillraceError(
      "OFFSET_OUT_OF_RANGE",
      `Offset ${offset} cannot be read: ${mark.startOffset} is the first one kept, and ${mark.highWatermark} the next one to come.`,
      { domain: "user", where: this.where(), cause },
    );
  }
}
