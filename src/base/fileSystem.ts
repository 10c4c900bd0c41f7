/**
 * The file system as the platform uses it; passed in, so that a simulated one can drop, tear and refuse on command.
 * What is written is durable only after `File.sync`; a created, renamed or removed name only after `syncDirectory` of
 * its folder. Errors are the operating system's own (with `code`: ENOENT, EEXIST, ENOSPC, EIO, ...), never wrapped here.
 */
export interface FileSystem {
  /** "read": must exist. "write": read and write, must exist. "create": read and write, must not exist (EEXIST). */
  open(path: string, mode: "read" | "write" | "create"): Promise<File>;
  /** Whole content; for small files. */
  readFile(path: string): Promise<Buffer>;
  /** Names in a folder, unordered. */
  list(path: string): Promise<string[]>;
  stat(path: string): Promise<{ readonly bytes: number; readonly isDirectory: boolean } | undefined>;
  /** With parents; existing ones are fine. Makes the new names durable itself. */
  makeDirectory(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  removeFile(path: string): Promise<void>;
  /** With all that is in it; a missing one is fine. */
  removeTree(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  /** Bytes that may still be written to the disk on which this folder lies. */
  freeBytes(path: string): Promise<number>;
}

export interface File {
  /** Reads up to `length` bytes; fewer only at the end of the file. */
  read(into: Uint8Array, offset: number, length: number, position: number): Promise<number>;
  /** Writes all of it, or fails. */
  write(from: Uint8Array, offset: number, length: number, position: number): Promise<void>;
  /**
   * Writes all of it, and resolves when that is on the disk, with the file's size: `write` and `sync` in one trip, where the system can.
   * Of what was written or cut before and not synced it says nothing. Fails as either of them does.
   */
  writeSynced(from: Uint8Array, offset: number, length: number, position: number): Promise<void>;
  /** Data and size on the disk (fdatasync). A failed sync must never be retried as if it had worked. */
  sync(): Promise<void>;
  truncate(bytes: number): Promise<void>;
  bytes(): Promise<number>;
  close(): Promise<void>;
}
