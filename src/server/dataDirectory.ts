/** Where everything lies in a node's data directory, and what is wrong with one that cannot be used. */
import path from "node:path";
import { type MillraceError, toMillraceError } from "../base/errors.ts";
import type { FileSystem } from "../base/fileSystem.ts";

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

export const unusable = (error: unknown, root: string): MillraceError =>
  toMillraceError(error, "DATA_UNUSABLE", "the data directory cannot be used", {
    domain: "external",
    where: root,
    hint: hintFor(codeOf(error)),
  });

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException | undefined)?.code ?? "";

function hintFor(code: string): string {
  if (code === "EACCES" || code === "EPERM")
    return "Give the user that runs the node write permission there, or choose another folder with --data.";
  if (code === "EROFS") return "The file system is mounted read-only: remount it, or choose another folder with --data.";
  if (code === "ENOSPC" || code === "EDQUOT") return "Free space on this disk (or raise the quota), or choose another folder with --data.";
  if (code === "EEXIST" || code === "ENOTDIR")
    return "A file has the name of a folder there: move it away, or choose another folder with --data.";
  return "It must be a folder that the node's user can write to; choose another with --data.";
}

/** Then it is not what lies there that fails. */
const writeCodes = new Set(["EROFS", "ENOSPC", "EDQUOT"]);

/** A failure without a name of its own while what lies in the directory is read: a file is missing, or the disk refuses it. */
export const unreadable = (error: unknown, root: string): MillraceError =>
  writeCodes.has(codeOf(error))
    ? unusable(error, root)
    : toMillraceError(error, "DATA_UNREADABLE", "what is in the data directory cannot be read", {
        domain: "external",
        where: root,
        hint: "A file may have been removed, or belong to another user: put it back from a copy, or start with another --data.",
      });
