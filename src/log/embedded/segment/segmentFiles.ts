import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import { removeIfThere } from "../../../base/wholeFile.ts";
import { abortedIndexFileName, indexFileName, logFileName, timeIndexFileName } from "./names.ts";

/** All that a segment may have. */
const segmentFileNames = (baseOffset: number): string[] =>
  [logFileName, indexFileName, timeIndexFileName, abortedIndexFileName].map((name) => name(baseOffset));

/** The batches first: a leftover index harms nobody. Files that are not there went before. `suffix` ends their names. */
export async function removeSegmentFiles(fileSystem: FileSystem, folder: string, baseOffset: number, suffix = ""): Promise<void> {
  for (const name of segmentFileNames(baseOffset)) {
    await removeIfThere(fileSystem, path.join(folder, name + suffix));
  }
}
