/** Small files that are written whole, and those that a try before may have left. */
import path from "node:path";
import type { FileSystem } from "./fileSystem.ts";
import { undefinedIfMissing } from "./systemError.ts";

export async function removeIfThere(fileSystem: FileSystem, file: string): Promise<void> {
  await fileSystem.removeFile(file).catch(undefinedIfMissing);
}

/** There must be none yet. On the disk when it resolves, but for its name. */
export async function writeNewFile(fileSystem: FileSystem, file: string, bytes: Uint8Array): Promise<void> {
  const handle = await fileSystem.open(file, "create");
  try {
    if (bytes.length > 0) await handle.write(bytes, 0, bytes.length, 0);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What `replaceFile` writes first; a failure or a crash may leave it. */
export const replacementOf = (file: string): string => `${file}.new`;

/** In the place of what is there, if anything: a crash at any moment leaves that or this, whole. Durable when it resolves. */
export async function replaceFile(fileSystem: FileSystem, file: string, bytes: Uint8Array): Promise<void> {
  const temporary = replacementOf(file);
  await removeIfThere(fileSystem, temporary);
  await writeNewFile(fileSystem, temporary, bytes);
  await fileSystem.rename(temporary, file);
  await fileSystem.syncDirectory(path.dirname(file));
}
