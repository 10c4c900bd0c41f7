import path from "node:path";
import type { FileSystem } from "../../base/fileSystem.ts";
import { indexFileName, logFileName, timeIndexFileName } from "./names.ts";

/** The batches first: a leftover index harms nobody. Files that are not there went before. */
export async function removeSegmentFiles(fileSystem: FileSystem, folder: string, baseOffset: number): Promise<void> {
  for (const name of [logFileName, indexFileName, timeIndexFileName]) {
    const file = path.join(folder, name(baseOffset));
    if ((await fileSystem.stat(file)) !== undefined) await fileSystem.removeFile(file);
  }
}
