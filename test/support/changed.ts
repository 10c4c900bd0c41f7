import type { FileSystem } from "../../src/base/fileSystem.ts";

/** A file system of which one operation is replaced. */
export const changed = (fileSystem: FileSystem, changes: Partial<FileSystem>): FileSystem => ({
  open: (file, mode) => fileSystem.open(file, mode),
  readFile: (file) => fileSystem.readFile(file),
  list: (folder) => fileSystem.list(folder),
  stat: (file) => fileSystem.stat(file),
  makeDirectory: (folder) => fileSystem.makeDirectory(folder),
  rename: (from, to) => fileSystem.rename(from, to),
  removeFile: (file) => fileSystem.removeFile(file),
  removeTree: (folder) => fileSystem.removeTree(folder),
  syncDirectory: (folder) => fileSystem.syncDirectory(folder),
  freeBytes: (folder) => fileSystem.freeBytes(folder),
  ...changes,
});
