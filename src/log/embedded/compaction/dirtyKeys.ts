import type { FileSystem } from "../../../base/fileSystem.ts";
import { lastOffsetAt } from "../../../record/batchHeader.ts";
import { RecordCursor } from "../../../record/recordCursor.ts";
import type { AbortedTransaction } from "../../contract/embeddedLog.ts";
import { isHidden } from "../reading/committedBatches.ts";
import { SegmentBatches } from "../segment/segmentBatches.ts";
import { AbortedRanges } from "../transactions/abortedRanges.ts";
import type { RolledSegment } from "./compactionPlan.ts";
import { digestInTurns, KeyOffsets, takesTurns } from "./keyOffsets.ts";
import type { Slices } from "./slices.ts";

/** What a pass may remember of keys; a pass over more keys than fit takes as many as do. */
export const KEY_MEMORY_BYTES_MAX = 64 * 1024 * 1024;
const KEY_MEMORY_BYTES_MIN = 64 * 1024;
/** A record takes 7 bytes at least, a slot 16 at three quarters full: with so much the smallest records all fit. */
const MEMORY_OF_DIRTY_BYTES = 16;
/** Each of the first records may meet memory that was never used, for which the system makes room, up to 2 MiB at a time. */
const RECORDS_A_TURN = 8;
/** Behind each longer one it is asked whether the slice is over. */
const LONG_KEY_BYTES = 16 * 1024;

/** The aborted transactions that have batches among these offsets. */
export type AbortedIn = (fromOffset: number, toOffset: number) => Promise<readonly AbortedTransaction[]>;

export interface DirtyKeys {
  /** The latest offset of each key between where the dirty part begins and `end`. */
  readonly offsets: KeyOffsets;
  /** The first offset that was not looked at. */
  readonly end: number;
}

/** Reads the dirty part, as much as the memory has keys for: one record at least. */
export async function readDirtyKeys(
  fileSystem: FileSystem,
  folder: string,
  segments: readonly RolledSegment[],
  dirtyFrom: number,
  abortedIn: AbortedIn,
  memoryBytesMax: number,
  slices: Slices,
): Promise<DirtyKeys> {
  const dirty = segments.filter(({ nextBase }) => nextBase > dirtyFrom);
  const wanted = MEMORY_OF_DIRTY_BYTES * dirty.reduce((sum, { bytes }) => sum + bytes, 0);
  const memoryBytes = Math.min(memoryBytesMax, Math.max(wanted, KEY_MEMORY_BYTES_MIN));
  const offsets = await KeyOffsets.create(memoryBytes, () => slices.pause());
  let end = dirtyFrom;
  for (const { baseOffset, nextBase } of dirty) {
    const aborted = new AbortedRanges(await abortedIn(baseOffset, nextBase));
    const batches = await SegmentBatches.open(fileSystem, folder, baseOffset, nextBase);
    const full = await readSegment(batches, dirtyFrom, aborted, offsets, slices).finally(() => batches.close());
    if (full !== undefined) return { offsets, end: full };
    end = nextBase;
  }
  return { offsets, end };
}

/** Returns the offset for which there was no room any more. */
async function readSegment(
  batches: SegmentBatches,
  dirtyFrom: number,
  aborted: AbortedRanges,
  offsets: KeyOffsets,
  slices: Slices,
): Promise<number | undefined> {
  for (;;) {
    if (!batches.next()) {
      const bytes = await batches.fill();
      if (bytes === 0) return undefined;
      await slices.moved(bytes);
      continue;
    }
    const { bytes, at, end } = batches;
    if (lastOffsetAt(bytes, at) >= dirtyFrom && !isHidden(bytes, at, aborted)) {
      const full = await noteKeys(new RecordCursor(bytes, at, end), dirtyFrom, offsets, slices);
      if (full !== undefined) return full;
    }
    if (slices.over) await slices.pause();
  }
}

function noteKeys(
  cursor: RecordCursor,
  dirtyFrom: number,
  offsets: KeyOffsets,
  slices: Slices,
): Promise<number | undefined> | number | undefined {
  for (let noted = 0; cursor.next(); ) {
    const { bytes, keyAt, keyBytes, offset } = cursor;
    if (offset < dirtyFrom || keyBytes < 0) continue;
    if (takesTurns(keyBytes)) return noteLargeKey(cursor, dirtyFrom, offsets, slices);
    if (!offsets.set(bytes, keyAt, keyBytes, offset)) return offset;
    if ((++noted % RECORDS_A_TURN === 0 || keyBytes > LONG_KEY_BYTES) && slices.over) {
      return slices.pause().then(() => noteKeys(cursor, dirtyFrom, offsets, slices));
    }
  }
  return undefined;
}

async function noteLargeKey(cursor: RecordCursor, dirtyFrom: number, offsets: KeyOffsets, slices: Slices): Promise<number | undefined> {
  const digest = await slices.through(digestInTurns(cursor.bytes, cursor.keyAt, cursor.keyBytes));
  return offsets.setDigest(digest, cursor.offset) ? noteKeys(cursor, dirtyFrom, offsets, slices) : cursor.offset;
}
