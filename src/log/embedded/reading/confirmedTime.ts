/** What a time index says, where the batches say the same: a part of it may be lost, and what is left looks whole. */
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import { BATCH_HEADER_BYTES, baseOffsetAt, batchBytesAt, lastOffsetAt, maxTimestampAt } from "../../../record/batchHeader.ts";
import { validateBatchShape } from "../../../record/validateBatch.ts";
import { scanSegment } from "../segment/segmentScan.ts";
import { lastTimeEntry, type TimeEntry } from "../segment/timeIndex.ts";
import { openSegment, seekOffset } from "./segmentSeek.ts";

/** The latest timestamp of a segment that is not written any more. Undefined: the batches have to be read. */
export async function confirmedLatest(
  fileSystem: FileSystem,
  folder: string,
  baseOffset: number,
  nextBase: number,
): Promise<number | undefined> {
  const entry = await lastTimeEntry(fileSystem, folder, baseOffset);
  if (entry === undefined) return undefined;
  const segment = await openSegment(fileSystem, folder, baseOffset);
  try {
    const fileBytes = await segment.file.bytes();
    const { position } = await seekOffset(fileSystem, folder, segment, entry.offset, fileBytes, nextBase);
    const behind = await confirmedEnd(segment.file, position, entry);
    if (behind === undefined) return undefined;
    return (await isNoneLater(segment.file, behind, fileBytes, entry, nextBase)) ? entry.timestamp : undefined;
  } finally {
    await segment.file.close();
  }
}

/** The end of the batch there, if it ends as the entry says, with a record that is exactly so late. */
export async function confirmedEnd(file: File, position: number, entry: TimeEntry): Promise<number | undefined> {
  const header = Buffer.allocUnsafe(BATCH_HEADER_BYTES);
  const length = await file.read(header, 0, BATCH_HEADER_BYTES, position);
  if (validateBatchShape(header, 0, length) !== undefined) return undefined;
  if (lastOffsetAt(header, 0) !== entry.offset || maxTimestampAt(header, 0) !== entry.timestamp) return undefined;
  return position + batchBytesAt(header, 0);
}

/** Most often nothing is behind the last entry's batch. False as well if what is there cannot be read to the segment's end. */
async function isNoneLater(file: File, from: number, to: number, entry: TimeEntry, nextBase: number): Promise<boolean> {
  let reached = entry.offset + 1;
  let isLater = false;
  await scanSegment(file, from, to, false, (bytes, at) => {
    if (baseOffsetAt(bytes, at) >= nextBase) return "stop";
    reached = lastOffsetAt(bytes, at) + 1;
    isLater = maxTimestampAt(bytes, at) > entry.timestamp;
    return isLater ? "stop" : undefined;
  });
  return !isLater && reached >= nextBase;
}
