/** Where everything lies in a node's data directory. Its own format has a number: older ones are read, newer ones refused. */
import path from "node:path";
import { MillraceError, toMillraceError } from "../base/errors.ts";
import type { FileSystem } from "../base/fileSystem.ts";

const layoutVersion = 1;

export interface DataDirectory {
  readonly root: string;
  readonly topics: string;
  readonly journal: string;
  /** Which topics there are. */
  readonly catalog: string;
  /** Exchanges, queues, bindings. */
  readonly topology: string;
  readonly checkpoints: string;
  /** Built pipelines; made anew at every start. */
  readonly bundles: string;
  /** The control socket, where the path is short enough for one. */
  readonly socket: string;
}

export const layoutOf = (root: string): DataDirectory => ({
  root,
  topics: path.join(root, "topics"),
  journal: path.join(root, "journal"),
  catalog: path.join(root, "catalog"),
  topology: path.join(root, "topology"),
  checkpoints: path.join(root, "checkpoints"),
  bundles: path.join(root, "bundles"),
  socket: path.join(root, "control.sock"),
});

export async function makeDataDirectory(fileSystem: FileSystem, root: string): Promise<DataDirectory> {
  try {
    await fileSystem.makeDirectory(root);
  } catch (error) {
    throw unusable(error, root);
  }
  return layoutOf(root);
}

/** Reads the directory's version, or writes it into a new one. Only under the directory's lock. */
export async function checkVersion(fileSystem: FileSystem, { root }: DataDirectory): Promise<void> {
  const file = path.join(root, "version");
  try {
    if ((await fileSystem.stat(file)) === undefined) return await writeVersion(fileSystem, root, file);
    const text = (await fileSystem.readFile(file)).toString("utf8");
    const found = /^millrace-data ([0-9]+)\n$/.exec(text)?.[1];
    if (found === undefined) {
      throw new MillraceError("DATA_VERSION_UNREADABLE", "the version of the data directory cannot be read", {
        domain: "external",
        where: file,
        hint: `A directory of this release says 'millrace-data ${layoutVersion}' there.`,
      });
    }
    if (Number(found) > layoutVersion) {
      throw new MillraceError("DATA_TOO_NEW", `the data directory has the format ${found}; this release reads up to ${layoutVersion}`, {
        domain: "user",
        where: file,
        hint: "Start the release that wrote it, or a later one.",
      });
    }
  } catch (error) {
    throw unusable(error, root);
  }
}

async function writeVersion(fileSystem: FileSystem, root: string, file: string): Promise<void> {
  const temporary = `${file}.new`;
  if ((await fileSystem.stat(temporary)) !== undefined) await fileSystem.removeFile(temporary);
  const opened = await fileSystem.open(temporary, "create");
  try {
    const bytes = Buffer.from(`millrace-data ${layoutVersion}\n`);
    await opened.write(bytes, 0, bytes.length, 0);
    await opened.sync();
  } finally {
    await opened.close();
  }
  await fileSystem.rename(temporary, file);
  await fileSystem.syncDirectory(root);
}

export const unusable = (error: unknown, root: string): MillraceError =>
  toMillraceError(error, "DATA_UNUSABLE", "the data directory cannot be used", {
    domain: "external",
    where: root,
    hint: "It must be a folder that the node's user can write to; choose another with --data.",
  });

/** A failure without a name of its own while what lies in the directory is read: a file is missing, or the disk refuses it. */
export const unreadable = (error: unknown, root: string): MillraceError =>
  toMillraceError(error, "DATA_UNREADABLE", "what is in the data directory cannot be read", {
    domain: "external",
    where: root,
    hint: "A file may have been removed, or belong to another user: put it back from a copy, or start with another --data.",
  });
