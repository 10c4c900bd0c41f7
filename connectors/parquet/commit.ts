import path from "node:path";
import { crc32c } from "../../src/base/crc32c.ts";
import { MillraceError } from "../../src/base/errors.ts";
import type { FileSystem } from "../../src/base/fileSystem.ts";
import type { PendingFile } from "./handle.ts";

/** Parquet's end of file: the footer's length and the magic. */
const tailBytes = 8;

/** Moves finished files to where readers look; any number of times with one result. */
export class Committer {
  private readonly toSync = new Set<string>();
  /** Partition folders that this process has made durable. */
  private readonly durableFolders = new Set<string>();

  constructor(
    private readonly fileSystem: FileSystem,
    private readonly root: string,
  ) {}

  async commit(file: PendingFile): Promise<void> {
    const temporary = path.join(this.root, file.temporary);
    const final = path.join(this.root, file.final);
    const pending = await this.fileSystem.stat(temporary);
    const done = await this.fileSystem.stat(final);
    // also when it is done already: the crash may have come before the sync
    this.syncLater(path.dirname(final));
    if (done !== undefined) {
      if (!(await this.isSame(final, done.bytes, file))) throw nameTaken(final);
      // both names are there: a crash kept only half of the rename
      if (pending !== undefined) await this.fileSystem.removeFile(temporary);
      return;
    }
    if (pending?.bytes !== file.bytes) throw lost(file, temporary, final, pending?.bytes);
    await this.fileSystem.makeDirectory(path.dirname(final));
    await this.fileSystem.rename(temporary, final);
  }

  /**
   * Resolves when the new names are durable. The folder that the files left is not synced: a temporary name that comes back after a
   * crash is removed at the next start.
   */
  async committed(): Promise<void> {
    for (const folder of this.toSync) {
      await this.fileSystem.syncDirectory(folder);
      this.durableFolders.add(folder);
    }
    this.toSync.clear();
  }

  /** Before a checkpoint names the file: a result of that name is not of this history. */
  async refuseTaken(file: PendingFile): Promise<void> {
    const final = path.join(this.root, file.final);
    if ((await this.fileSystem.stat(final)) !== undefined) throw nameTaken(final);
  }

  /** The folder, and once a process those above it: an earlier process may have been killed between making and syncing one. */
  private syncLater(folder: string): void {
    this.toSync.add(folder);
    for (let at = folder; at !== this.root; ) {
      at = path.dirname(at);
      if (!this.durableFolders.has(at)) this.toSync.add(at);
    }
  }

  private async isSame(final: string, bytes: number, file: PendingFile): Promise<boolean> {
    if (bytes !== file.bytes) return false;
    const opened = await this.fileSystem.open(final, "read");
    try {
      const tail = Buffer.alloc(tailBytes);
      await opened.read(tail, 0, tailBytes, bytes - tailBytes);
      const footerBytes = tail.readUInt32LE(0);
      if (footerBytes > bytes - tailBytes) return false;
      const footer = Buffer.alloc(footerBytes);
      await opened.read(footer, 0, footerBytes, bytes - tailBytes - footerBytes);
      return crc32c(footer) === file.footerCrc;
    } finally {
      await opened.close();
    }
  }
}

function nameTaken(final: string): MillraceError {
  return new MillraceError("OUTPUT_EXISTS", `${final} is there already, with other content`, {
    domain: "user",
    where: final,
    hint: "An earlier life of this pipeline (whose checkpoint is gone) wrote here: move its output away, or choose another folder.",
  });
}

function lost(file: PendingFile, temporary: string, final: string, bytes: number | undefined): MillraceError {
  const found = bytes === undefined ? "is gone" : `has ${bytes} bytes instead of ${file.bytes}`;
  return new MillraceError(
    "SINK_HANDLE_LOST",
    `${file.rows} rows of the last checkpoint are missing: ${temporary} ${found}, and there is no ${final}`,
    {
      domain: "external",
      where: temporary,
      hint: "Was the output folder moved, cleaned or replaced? Put the file back, or start the pipeline without its checkpoint to write everything again.",
    },
  );
}
