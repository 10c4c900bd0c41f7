import path from "node:path";
import { MillraceError } from "../../src/base/errors.ts";
import type { File, FileSystem } from "../../src/base/fileSystem.ts";

const fullCodes = new Set(["ENOSPC", "EDQUOT"]);
/** Somebody has to change something first; everything else (EIO, EMFILE, ...) may pass. */
const lastingCodes = new Set(["EACCES", "EPERM", "EROFS", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "EEXIST"]);

/** The operating system's error as one that says what to do. */
function outputError(error: unknown, where: string): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (error instanceof MillraceError || code === undefined) return error;
  if (fullCodes.has(code)) {
    return new MillraceError("OUTPUT_FULL", `there is no room left to write ${where}`, {
      domain: "external",
      retryable: true,
      where,
      hint: "Free space on this disk (or raise the quota); the pipeline goes on from its last checkpoint by itself.",
      cause: error,
    });
  }
  return new MillraceError("OUTPUT_UNWRITABLE", `cannot write ${where}`, {
    domain: "external",
    retryable: !lastingCodes.has(code),
    where,
    hint: hintFor(code),
    cause: error,
  });
}

function hintFor(code: string): string {
  if (code === "EACCES" || code === "EPERM")
    return "Give the user that runs the node write permission there, or choose another folder; then start the node again.";
  if (code === "EROFS") return "The file system is mounted read-only: remount it, or choose another folder; then start the node again.";
  if (code === "ENOTDIR" || code === "EISDIR" || code === "EEXIST") {
    return "Something that is not a folder has the name of one: move it away, or choose another folder; then start the node again.";
  }
  return "Look at the disk and the system's log; the pipeline tries again from its last checkpoint.";
}

/** The same file system, with errors of the output folder as people need them. */
export function outputFileSystem(inner: FileSystem): FileSystem {
  return {
    open: (where, mode) => guard(where, async () => guardFile(await inner.open(where, mode), where)),
    readFile: (where) => guard(where, () => inner.readFile(where)),
    list: (where) => guard(where, () => inner.list(where)),
    stat: (where) => guard(where, () => inner.stat(where)),
    makeDirectory: (where) => guard(where, () => inner.makeDirectory(where)),
    rename: (from, to) => guard(path.dirname(to), () => inner.rename(from, to)),
    removeFile: (where) => guard(where, () => inner.removeFile(where)),
    removeTree: (where) => guard(where, () => inner.removeTree(where)),
    syncDirectory: (where) => guard(where, () => inner.syncDirectory(where)),
    freeBytes: (where) => guard(where, () => inner.freeBytes(where)),
  };
}

async function guard<R>(where: string, call: () => Promise<R>): Promise<R> {
  try {
    return await call();
  } catch (error) {
    throw outputError(error, where);
  }
}

function guardFile(file: File, where: string): File {
  return {
    read: (into, offset, length, position) => guard(where, () => file.read(into, offset, length, position)),
    write: (from, offset, length, position) => guard(where, () => file.write(from, offset, length, position)),
    writeSynced: (from, offset, length, position) => guard(where, () => file.writeSynced(from, offset, length, position)),
    sync: () => guard(where, () => file.sync()),
    truncate: (bytes) => guard(where, () => file.truncate(bytes)),
    bytes: () => guard(where, () => file.bytes()),
    close: () => guard(where, () => file.close()),
  };
}
