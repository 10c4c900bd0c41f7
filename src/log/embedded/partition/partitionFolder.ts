import path from "node:path";
import { MillraceError } from "../../../base/errors.ts";
import type { FileSystem } from "../../../base/fileSystem.ts";
import type { Logger } from "../../../base/logger.ts";
import { deletedFolder, isDeletedFolder } from "../segment/names.ts";
import { Segment } from "../segment/segment.ts";

/** With an empty first segment; durable. TOPIC_NOT_MADE: the disk refuses it. */
export async function createPartitionFolder(fileSystem: FileSystem, folder: string): Promise<void> {
  try {
    await create(fileSystem, folder);
  } catch (error) {
    throw error instanceof MillraceError ? error : notMade(folder, error);
  }
}

const notMade = (folder: string, cause: unknown): MillraceError =>
  new MillraceError("TOPIC_NOT_MADE", "The folder of a new topic could not be made; there is no such topic.", {
    domain: "external",
    retryable: true,
    where: folder,
    cause,
    hint: "Look after the disk, and declare the topic again.",
  });

async function create(fileSystem: FileSystem, folder: string): Promise<void> {
  await removeLeftover(fileSystem, folder);
  await fileSystem.makeDirectory(folder);
  const segment = await Segment.create(fileSystem, folder, 0);
  await segment.close();
  await fileSystem.syncDirectory(folder);
}

/** A creation that did not come to its end leaves empty files. Anything else is somebody's data, and is not touched. */
async function removeLeftover(fileSystem: FileSystem, folder: string): Promise<void> {
  if ((await fileSystem.stat(folder)) === undefined) return;
  for (const name of await fileSystem.list(folder)) {
    const file = path.join(folder, name);
    if ((await fileSystem.stat(file))?.bytes === 0) continue;
    throw new MillraceError("TOPIC_FOLDER_IN_USE", "The folder of the new topic is there already, with data in it.", {
      domain: "user",
      where: file,
      hint: "It belongs to no topic of this node: move it away.",
    });
  }
  await fileSystem.removeTree(folder);
}

/** One look at the directory, however many there are: a folder that somebody took away is noticed at the start, not at its first use. */
export function checkFoldersThere(directory: string, found: readonly string[], folders: readonly string[]): void {
  const names = new Set(found);
  const missing = folders.find((folder) => !names.has(folder));
  if (missing === undefined) return;
  throw new MillraceError("TOPIC_FOLDER_MISSING", "The folder of a topic is not there any more, and the topic was not deleted.", {
    domain: "user",
    where: path.join(directory, missing),
    hint: "Put it back, or restore the whole data directory from one backup.",
  });
}

/** Of a catalog without topics: a kill may leave the empty folder of one that was not made; else the catalog's entries are gone. */
export function tellUnknownFolders(directory: string, found: readonly string[], logger: Logger): void {
  const unknown = found.filter((name) => !isDeletedFolder(name));
  if (unknown.length === 0) return;
  logger.warn("the catalog knows no topics; the folders that are there are neither served nor touched", {
    directory,
    folders: unknown.length,
    first: unknown[0],
  });
}

/** Out of the way under a name that says what it is; a missing one went before. */
export async function setAside(fileSystem: FileSystem, directory: string, folder: string): Promise<void> {
  if ((await fileSystem.stat(folder)) === undefined) return;
  const names = new Set(await fileSystem.list(directory));
  let number = 0;
  while (names.has(deletedFolder(number))) number++;
  await fileSystem.rename(folder, path.join(directory, deletedFolder(number)));
}

/** @param names of what is in the directory */
export async function removeDeletedFolders(fileSystem: FileSystem, directory: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    if (isDeletedFolder(name)) await fileSystem.removeTree(path.join(directory, name));
  }
}
