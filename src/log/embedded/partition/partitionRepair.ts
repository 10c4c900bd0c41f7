import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import type { ProducerState } from "../producers/producerState.ts";
import { writeSnapshot } from "../producers/snapshotFile.ts";
import { baseOffsetsOf, logFileName } from "../segment/names.ts";
import { Segment } from "../segment/segment.ts";
import { removeSegmentFiles } from "../segment/segmentFiles.ts";
import { type LogPosition, segmentBegin } from "./partitionState.ts";

/**
 * After a failed write or sync: nobody knows what the disk holds of what came after `synced`, and the page cache may show something else.
 * So the file is cut there and never written again, and a new one begun, under a name that no reader has open. Should the
 * cut not outlive a loss of power, the new segment's base offset says what is no part of the old one.
 *
 * The new segment begins with a snapshot of the producers, as any does.
 *
 * A segment of which nothing is synced is emptied and gone on with: were it removed and made again, a loss of power could leave none.
 * @param producers as of `synced`.
 */
export async function cutToSynced(
  fileSystem: FileSystem,
  folder: string,
  synced: LogPosition,
  producers: ProducerState,
): Promise<LogPosition> {
  for (const base of baseOffsetsOf(await fileSystem.list(folder)).toReversed()) {
    if (base > synced.baseOffset) await removeSegmentFiles(fileSystem, folder, base);
  }
  await fileSystem.syncDirectory(folder);
  const isEmpty = synced.baseOffset === synced.offset;
  const file = await fileSystem.open(path.join(folder, logFileName(synced.baseOffset)), "write");
  try {
    await file.truncate(synced.bytes);
    if (isEmpty) await file.sync();
  } finally {
    await file.close();
  }
  const cut = await Segment.open(fileSystem, folder, synced.baseOffset, synced.bytes, false);
  await cut.syncIndexes().finally(() => cut.close());
  if (isEmpty) return synced;
  await writeSnapshot(fileSystem, folder, synced.offset, producers, synced.offset, true);
  const next = await Segment.create(fileSystem, folder, synced.offset);
  await next.close();
  await fileSystem.syncDirectory(folder);
  return segmentBegin(synced.offset);
}
