/**
 * Puts a cleaned segment in the place of those that it was made of, so that after any crash the log reads as before or as after, key for
 * key. `end` is the base offset of the first segment behind them.
 *
 *   1. `<base>.log.cleaned` and its indexes are on the disk, and so are their names
 *   2. the partition's state says, durably: replacing { base, end }
 *   3. the old indexes of `base` go, so that no reader sees them beside batches that they were not made of
 *   4. the log is renamed over the old one, and the readers are told
 *   5. the indexes are renamed; that of the aborted transactions says what it said before and what the others did, but for transactions
 *      of which nothing is left, so it is never missing; an empty one takes the place of one that says nothing any more
 *   6. the other segments below `end` go
 *   7. the folder is synced; then the state says, durably, that nothing is being replaced, before anything with such a name is written
 *      again
 *
 * A loss of power may keep any of the changes of names from 3 to 6 and lose the others. Whoever finds the state does all of it again, past
 * what was done already: as long as the cleaned log is there under its own name, it is not yet in its place, and it holds what any of
 * the others held. An index that is lost on the way is made again by upkeep. Between 4 and 6 the new log reaches over the old segments
 * behind it: they are read as if it ended where they begin, which is what a log is that was compacted so far.
 */
import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import { abortedIndexFileName, baseOffsetsOf, CLEANED_SUFFIX, indexFileName, logFileName, timeIndexFileName } from "../segment/names.ts";
import { removeSegmentFiles } from "../segment/segmentFiles.ts";

export interface Replacement {
  readonly base: number;
  readonly end: number;
}

/** How the readers of the partition are told. */
export interface ReplacementListener {
  /** A file is another one from now on. */
  replaced(): void;
  /** From now on until `removed`, files that a reader knows may be gone. */
  removing(): void;
  removed(): void;
}

export const nobodyReads: ReplacementListener = { replaced() {}, removing() {}, removed() {} };

/** Steps 3 to 6. */
export async function replaceSegments(
  fileSystem: FileSystem,
  folder: string,
  { base, end }: Replacement,
  readers: ReplacementListener,
): Promise<void> {
  const log = path.join(folder, logFileName(base));
  const indexes = [path.join(folder, indexFileName(base)), path.join(folder, timeIndexFileName(base))];
  const aborted = path.join(folder, abortedIndexFileName(base));
  if (await exists(fileSystem, log + CLEANED_SUFFIX)) {
    for (const index of indexes) if (await exists(fileSystem, index)) await fileSystem.removeFile(index);
    await fileSystem.rename(log + CLEANED_SUFFIX, log);
    readers.replaced();
  }
  for (const index of [...indexes, aborted]) {
    if (await exists(fileSystem, index + CLEANED_SUFFIX)) await fileSystem.rename(index + CLEANED_SUFFIX, index);
  }
  const others = baseOffsetsOf(await fileSystem.list(folder)).filter((other) => other > base && other < end);
  readers.removing();
  try {
    for (const other of others) await removeSegmentFiles(fileSystem, folder, other);
  } finally {
    readers.removed();
  }
  await fileSystem.syncDirectory(folder);
}

const exists = async (fileSystem: FileSystem, file: string): Promise<boolean> => (await fileSystem.stat(file)) !== undefined;
