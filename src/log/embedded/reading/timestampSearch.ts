import type { FileSystem } from "../../../base/fileSystem.ts";
import {
  attributesAt,
  BATCH_HEADER_BYTES,
  BatchAttribute,
  baseOffsetAt,
  baseTimestampAt,
  batchBytesAt,
  countAt,
  lastOffsetAt,
  maxTimestampAt,
} from "../../../record/batchHeader.ts";
import { RecordCursor } from "../../../record/recordCursor.ts";
import { validateBatchShape } from "../../../record/validateBatch.ts";
import { readLatestTimestamp } from "../partition/retention.ts";
import { scanSegment } from "../segment/segmentScan.ts";
import { findTimeEntry, lastTimeEntry, type TimeEntry } from "../segment/timeIndex.ts";
import { type OpenSegment, openSegment, seekOffset } from "./segmentSeek.ts";
import type { Watermark } from "./watermark.ts";

export interface FoundTimestamp {
  readonly offset: number;
  readonly timestamp: number;
}

/** Finds records by time in a partition's folder. Remembers each older segment's latest timestamp, so that a search opens one segment. */
export class TimestampSearch {
  private latest = new Map<number, number>();
  private generation = 0;

  constructor(
    private readonly fileSystem: FileSystem,
    private readonly folder: string,
  ) {}

  /**
   * @param bases of the partition's segments, ascending.
   * @param hides is nobody to see the records of the batch?
   */
  async find(
    timestamp: number,
    bases: readonly number[],
    mark: Watermark,
    hides: (batch: Buffer) => Promise<boolean>,
  ): Promise<FoundTimestamp | undefined> {
    if (this.generation !== mark.generation) this.latest.clear();
    this.generation = mark.generation;
    for (const [i, base] of bases.entries()) {
      const nextBase = bases[i + 1] ?? Number.POSITIVE_INFINITY;
      if (nextBase <= mark.startOffset || base > mark.activeBaseOffset) continue;
      if (base !== mark.activeBaseOffset && (await this.latestOf(base)) < timestamp) continue;
      const found = await this.findIn(base, Math.min(nextBase, mark.highWatermark), timestamp, mark, hides);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  private async latestOf(base: number): Promise<number> {
    const known = this.latest.get(base);
    if (known !== undefined) return known;
    const latest = (await this.confirmedLatest(base)) ?? (await readLatestTimestamp(this.fileSystem, this.folder, base, undefined));
    this.latest.set(base, latest);
    return latest;
  }

  /** As the index says, if it has it from a batch. */
  private async confirmedLatest(base: number): Promise<number | undefined> {
    const { fileSystem, folder } = this;
    const entry = await lastTimeEntry(fileSystem, folder, base);
    if (entry === undefined) return undefined;
    const segment = await openSegment(fileSystem, folder, base);
    try {
      const { position } = await seekOffset(fileSystem, folder, segment, entry.offset, await segment.file.bytes());
      return (await confirms(segment, position, entry)) ? entry.timestamp : undefined;
    } finally {
      await segment.file.close();
    }
  }

  /** The position of a batch before which everything is earlier, or below the log's start. */
  private async tooEarlyUpTo(segment: OpenSegment, timestamp: number, limit: number, { startOffset }: Watermark): Promise<number> {
    const { fileSystem, folder } = this;
    const entry = await findTimeEntry(fileSystem, folder, segment.baseOffset, timestamp);
    if (entry !== undefined && entry.offset > startOffset) {
      const { position } = await seekOffset(fileSystem, folder, segment, entry.offset, limit);
      if (await confirms(segment, position, entry)) return position;
    }
    return (await seekOffset(fileSystem, folder, segment, Math.max(segment.baseOffset, startOffset), limit)).position;
  }

  /** Nothing at or above `beforeOffset`. */
  private async findIn(
    base: number,
    beforeOffset: number,
    timestamp: number,
    mark: Watermark,
    hides: (batch: Buffer) => Promise<boolean>,
  ): Promise<FoundTimestamp | undefined> {
    const { fileSystem, folder } = this;
    const segment = await openSegment(fileSystem, folder, base);
    try {
      const limit = base === mark.activeBaseOffset ? mark.position : await segment.file.bytes();
      let position = await this.tooEarlyUpTo(segment, timestamp, limit, mark);
      while (position < limit) {
        let passed = false;
        const { end } = await scanSegment(segment.file, position, limit, false, (bytes, at) => {
          passed = baseOffsetAt(bytes, at) >= beforeOffset;
          return passed || maxTimestampAt(bytes, at) >= timestamp ? "stop" : undefined;
        });
        if (end >= limit || passed) return undefined;
        const batch = await readBatch(segment.file, end, limit);
        if (batch === undefined) return undefined;
        const found = (await hides(batch)) ? undefined : firstRecordFrom(batch, timestamp, mark.startOffset);
        if (found !== undefined) return found;
        position = end + batch.length;
      }
      return undefined;
    } finally {
      await segment.file.close();
    }
  }
}

/** Does the batch there end as the entry says, with a record that is exactly so late? */
async function confirms({ file }: OpenSegment, position: number, entry: TimeEntry): Promise<boolean> {
  const header = Buffer.allocUnsafe(BATCH_HEADER_BYTES);
  const length = await file.read(header, 0, BATCH_HEADER_BYTES, position);
  if (validateBatchShape(header, 0, length) !== undefined) return false;
  return lastOffsetAt(header, 0) === entry.offset && maxTimestampAt(header, 0) === entry.timestamp;
}

async function readBatch(file: Parameters<typeof scanSegment>[0], position: number, limit: number): Promise<Buffer | undefined> {
  const length = Buffer.alloc(12);
  if ((await file.read(length, 0, 12, position)) < 12) return undefined;
  const bytes = batchBytesAt(length, 0);
  if (bytes < BATCH_HEADER_BYTES || position + bytes > limit) return undefined; // left by a write that failed
  const batch = Buffer.allocUnsafe(bytes);
  return (await file.read(batch, 0, bytes, position)) < bytes ? undefined : batch;
}

/** In a compressed batch the first offset stands for all. */
function firstRecordFrom(batch: Buffer, timestamp: number, startOffset: number): FoundTimestamp | undefined {
  const isCompressed = (attributesAt(batch, 0) & BatchAttribute.codecMask) !== 0;
  if (isCompressed && countAt(batch, 0) > 0) {
    return { offset: Math.max(baseOffsetAt(batch, 0), startOffset), timestamp: Math.max(timestamp, baseTimestampAt(batch, 0)) };
  }
  const cursor = new RecordCursor(batch);
  while (cursor.next()) {
    if (cursor.timestamp >= timestamp && cursor.offset >= startOffset) return { offset: cursor.offset, timestamp: cursor.timestamp };
  }
  return undefined;
}
