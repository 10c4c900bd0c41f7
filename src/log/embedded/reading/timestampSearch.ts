import path from "node:path";
import type { MillraceError } from "../../../base/errors.ts";
import type { FileSystem } from "../../../base/fileSystem.ts";
import {
  attributesAt,
  BatchAttribute,
  baseOffsetAt,
  baseTimestampAt,
  batchBytesAt,
  countAt,
  lastOffsetAt,
  maxTimestampAt,
} from "../../../record/batchHeader.ts";
import { RecordCursor } from "../../../record/recordCursor.ts";
import { segmentCorrupt } from "../partition/partitionErrors.ts";
import type { IndexRange } from "../segment/indexSearch.ts";
import { logFileName } from "../segment/names.ts";
import { scanSegment } from "../segment/segmentScan.ts";
import { findTimeEntry } from "../segment/timeIndex.ts";
import { confirmedEnd, confirmedLatest } from "./confirmedTime.ts";
import { type OpenSegment, openSegment, seekOffset } from "./segmentSeek.ts";
import type { Watermark } from "./watermark.ts";

export interface FoundTimestamp {
  readonly offset: number;
  readonly timestamp: number;
}

/** What of a segment is searched: from a position to a limit in its file, nothing at or above an offset. */
interface Span {
  readonly position: number;
  readonly limit: number;
  readonly beforeOffset: number;
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
    let before: number | undefined;
    for (const [i, base] of bases.entries()) {
      const nextBase = bases[i + 1] ?? Number.POSITIVE_INFINITY;
      if (nextBase <= mark.startOffset || base > mark.activeBaseOffset) continue;
      const latest = base === mark.activeBaseOffset ? undefined : await this.latestOf(base, nextBase);
      const about = before === undefined || latest === undefined ? undefined : { from: before, to: latest };
      before = latest;
      if (latest !== undefined && latest < timestamp) continue;
      const found = await this.findIn(base, Math.min(nextBase, mark.highWatermark), timestamp, about, mark, hides);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  private async latestOf(base: number, nextBase: number): Promise<number> {
    const known = this.latest.get(base);
    if (known !== undefined) return known;
    const latest = (await confirmedLatest(this.fileSystem, this.folder, base, nextBase)) ?? (await this.readLatest(base, nextBase));
    this.latest.set(base, latest);
    return latest;
  }

  /** From the batches. Throws LOG_CORRUPT: a damaged one may have the latest record. */
  private async readLatest(base: number, nextBase: number): Promise<number> {
    const { file } = await openSegment(this.fileSystem, this.folder, base);
    try {
      let latest = Number.NEGATIVE_INFINITY;
      let reached = base;
      const { end, problem } = await scanSegment(file, 0, await file.bytes(), true, (bytes, at) => {
        if (baseOffsetAt(bytes, at) >= nextBase) return "stop";
        latest = Math.max(latest, maxTimestampAt(bytes, at));
        reached = lastOffsetAt(bytes, at) + 1;
        return undefined;
      });
      // behind the last one may be what a write left that failed
      if (problem !== undefined && reached < nextBase) throw this.corrupt(base, end, problem);
      return latest;
    } finally {
      await file.close();
    }
  }

  private corrupt(base: number, position: number, cause: unknown): MillraceError {
    return segmentCorrupt(path.join(this.folder, logFileName(base)), position, cause);
  }

  /** The position of a batch before which everything is earlier, or below the log's start. */
  private async tooEarlyUpTo(
    segment: OpenSegment,
    timestamp: number,
    { limit, beforeOffset }: Omit<Span, "position">,
    about: IndexRange | undefined,
    { startOffset }: Watermark,
  ): Promise<number> {
    const { fileSystem, folder } = this;
    const entry = await findTimeEntry(fileSystem, folder, segment.baseOffset, timestamp, beforeOffset, about);
    if (entry !== undefined && entry.offset > startOffset) {
      const { position } = await seekOffset(fileSystem, folder, segment, entry.offset, limit, beforeOffset);
      if ((await confirmedEnd(segment.file, position, entry)) !== undefined) return position;
    }
    return (await seekOffset(fileSystem, folder, segment, Math.max(segment.baseOffset, startOffset), limit, beforeOffset)).position;
  }

  /** Nothing at or above `beforeOffset`. Every batch that is passed over is checked: a damaged one may be the one that is looked for. */
  private async findIn(
    base: number,
    beforeOffset: number,
    timestamp: number,
    about: IndexRange | undefined,
    mark: Watermark,
    hides: (batch: Buffer) => Promise<boolean>,
  ): Promise<FoundTimestamp | undefined> {
    if (Math.max(base, mark.startOffset) >= beforeOffset) return undefined;
    const { fileSystem, folder } = this;
    const segment = await openSegment(fileSystem, folder, base);
    try {
      const limit = base === mark.activeBaseOffset ? mark.position : await segment.file.bytes();
      const position = await this.tooEarlyUpTo(segment, timestamp, { limit, beforeOffset }, about, mark);
      const span = { position, limit, beforeOffset };
      for (
        let late = await this.nextLate(segment, timestamp, span);
        late !== undefined;
        late = await this.nextLate(segment, timestamp, span)
      ) {
        const found = (await hides(late.batch)) ? undefined : firstRecordFrom(late.batch, timestamp, mark.startOffset);
        if (found !== undefined) return found;
        if (lastOffsetAt(late.batch, 0) + 1 >= beforeOffset) return undefined;
        span.position = late.position + late.batch.length;
      }
      return undefined;
    } finally {
      await segment.file.close();
    }
  }

  /** The first batch with a record that is late enough. */
  private async nextLate(
    { baseOffset, file }: OpenSegment,
    timestamp: number,
    { position, limit, beforeOffset }: Span,
  ): Promise<{ readonly batch: Buffer; readonly position: number } | undefined> {
    let nextOffset = -1;
    let batch: Buffer | undefined;
    const { end, problem } = await scanSegment(file, position, limit, true, (bytes, at) => {
      if (nextOffset >= beforeOffset) return "stop";
      nextOffset = baseOffsetAt(bytes, at);
      if (nextOffset >= beforeOffset) return "stop"; // no part of the segment, or not decided yet
      nextOffset = lastOffsetAt(bytes, at) + 1;
      if (maxTimestampAt(bytes, at) >= timestamp) batch = Buffer.from(bytes.subarray(at, at + batchBytesAt(bytes, at)));
      return batch && "stop";
    });
    if (batch !== undefined) return { batch, position: end };
    if (nextOffset >= beforeOffset) return undefined;
    throw this.corrupt(baseOffset, end, problem ?? `the segment ends before offset ${beforeOffset}`);
  }
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
