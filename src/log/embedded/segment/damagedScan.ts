import type { MillraceError } from "../../../base/errors.ts";
import type { File } from "../../../base/fileSystem.ts";
import { baseOffsetAt, lastOffsetAt } from "../../../record/batchHeader.ts";
import { clearPlaceBehind } from "./behindDamage.ts";
import { offsetsBehind, SearchBudget } from "./lookalikes.ts";
import { scanSegment } from "./segmentScan.ts";

/** What of a segment's file belongs to it. */
export interface SegmentSpan {
  readonly from: number;
  readonly to: number;
  readonly baseOffset: number;
  /** No batch in it is below the one or at or above the other. */
  readonly fromOffset: number;
  readonly beforeOffset: number;
}

export interface DamagedPlace {
  readonly position: number;
  readonly cause: MillraceError | string;
  /** Where what could be read ended. */
  readonly fromOffset: number;
  /** Where what can be read goes on; `beforeOffset` if nowhere. */
  readonly nextOffset: number;
}

/**
 * Like scanSegment, for whoever needs all that can still be read: goes on behind damage with the next batch that is whole. What is behind
 * `beforeOffset` is not looked at, and no damage: a write that failed may have left it. Without `checksums` a batch of which only the
 * records are bad counts by its header.
 */
export async function scanPastDamage(
  file: File,
  { from, to, baseOffset, fromOffset, beforeOffset }: SegmentSpan,
  checksums: boolean,
  visit: (bytes: Buffer, at: number, position: number) => void,
  damaged: (place: DamagedPlace) => void,
): Promise<void> {
  const budget = new SearchBudget(to - from);
  let nextOffset = fromOffset;
  for (let position: number | undefined = from; position !== undefined; ) {
    const { end, problem } = await scanSegment(file, position, to, checksums, (bytes, at, found) => {
      if (baseOffsetAt(bytes, at) >= beforeOffset) return "stop";
      nextOffset = lastOffsetAt(bytes, at) + 1;
      visit(bytes, at, found);
      return undefined;
    });
    if (nextOffset >= beforeOffset) return;
    if (problem === undefined && end < to) return; // it met what belongs to the next segment
    const place = await clearPlaceBehind(file, end, to, offsetsBehind(nextOffset, baseOffset, beforeOffset), budget);
    damaged({
      position: end,
      cause: problem ?? "the segment ends here",
      fromOffset: nextOffset,
      nextOffset: place?.offset ?? beforeOffset,
    });
    position = place?.position;
  }
}
