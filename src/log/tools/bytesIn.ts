import path from "node:path";
import type { FileSystem } from "../../base/fileSystem.ts";

/** Of the files in a folder; none if it is not there. */
export async function bytesIn(fileSystem: FileSystem, folder: string): Promise<number> {
  if ((await fileSystem.stat(folder)) === undefined) return 0;
  let total = 0;
  for (const name of await fileSystem.list(folder)) total += (await fileSystem.stat(path.join(folder, name)))?.bytes ?? 0;
  return total;
}
