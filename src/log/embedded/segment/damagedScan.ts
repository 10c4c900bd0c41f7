import type { MillraceError } from "../../../base/errors.ts";
import type { File } from "../../../base/fileSystem.ts";
import { BATCH_HEADER_BYTES, baseOffsetAt, batchBytesAt, lastOffsetAt } from "../../../record/batchHeader.ts";
import { offsetProblem } from "../../../record/batchMark.ts";
import { scanSegment } from "./segmentScan.ts";
import { findWholeBatch } from "./syncedBehind.ts";

/** What of a segment's file belongs to it. */
export interface SegmentSpan {
  readonly from: number;
  readonly to: number;
  /** No batch in it is below the one or at or above the other. */
  readonly fromOffset: number;
  readonly beforeOffset: number;
}

export interface DamagedPlace {
  readonly position: number;
  readonly cause: MillraceError | string;
  /** Where what can be read goes on; `beforeOffset` if nowhere. */
  readonly nextOffset: number;
}

/**
 * Like scanSegment, for whoever needs all that can still be read: goes on behind damage with the next batch that is whole. Where the
 * damaged one's length is right that is the one behind it, else the first at any byte. What is behind `beforeOffset` is not looked at, and no
 * damage: a write that failed may have left it.
 */
export async function scanPastDamage(
  file: File,
  { from, to, fromOffset, beforeOffset }: SegmentSpan,
  checksums: boolean,
  visit: (bytes: Buffer, at: number) => void,
  damaged: (place: DamagedPlace) => void,
): Promise<void> {
  let nextOffset = fromOffset;
  for (let position: number | undefined = from; position !== undefined; ) {
    const { end, problem } = await scanSegment(file, position, to, checksums, (bytes, at) => {
      if (baseOffsetAt(bytes, at) >= beforeOffset) return "stop";
      nextOffset = lastOffsetAt(bytes, at) + 1;
      visit(bytes, at);
      return undefined;
    });
    if (nextOffset >= beforeOffset) return;
    if (problem === undefined && end < to) return; // it met what belongs to the next segment
    const place = await nextWhole(file, end, to, nextOffset, beforeOffset);
    damaged({ position: end, cause: problem ?? "the segment ends here", nextOffset: place?.offset ?? beforeOffset });
    position = place?.position;
  }
}

async function nextWhole(
  file: File,
  damagedAt: number,
  to: number,
  fromOffset: number,
  beforeOffset: number,
): Promise<{ readonly position: number; readonly offset: number } | undefined> {
  let offset = 0;
  const mayBe = (bytes: Buffer, at: number): boolean => {
    offset = baseOffsetAt(bytes, at);
    return offset >= fromOffset && offset < beforeOffset && offsetProblem(bytes, at) === undefined;
  };
  const header = Buffer.allocUnsafe(BATCH_HEADER_BYTES);
  const hasHeader = (await file.read(header, 0, BATCH_HEADER_BYTES, damagedAt)) === BATCH_HEADER_BYTES;
  const behind = hasHeader && batchBytesAt(header, 0) > 0 ? damagedAt + batchBytesAt(header, 0) : to;
  const position = (await wholeAt(file, behind, to, mayBe)) ?? (await findWholeBatch(file, damagedAt, to, mayBe));
  return position === undefined ? undefined : { position, offset };
}

async function wholeAt(file: File, at: number, to: number, mayBe: (bytes: Buffer, at: number) => boolean): Promise<number | undefined> {
  let isWhole = false;
  await scanSegment(file, at, to, true, (bytes, begin) => {
    isWhole = mayBe(bytes, begin);
    return "stop";
  });
  return isWhole ? at : undefined;
}
