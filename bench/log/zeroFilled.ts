import { type FileHandle, open } from "node:fs/promises";
import path from "node:path";
import { MiB } from "./batches.ts";

const FILE_BYTES = 256 * MiB;

/** The least that a journal has to do: writes of one size, each synced, round and round in a file that was filled with zeros before. */
export class ZeroFilledFile {
  private at = 0;

  private constructor(private readonly file: FileHandle) {}

  static async create(folder: string): Promise<ZeroFilledFile> {
    const file = await open(path.join(folder, "zero-filled"), "w");
    const zeros = Buffer.alloc(4 * MiB);
    for (let at = 0; at < FILE_BYTES; at += zeros.length) await file.write(zeros, 0, zeros.length, at);
    await file.sync();
    return new ZeroFilledFile(file);
  }

  async writeAndSync(bytes: Buffer, times: number): Promise<void> {
    for (let n = 0; n < times; n++) {
      if (this.at + bytes.length > FILE_BYTES) this.at = 0;
      await this.file.write(bytes, 0, bytes.length, this.at);
      await this.file.datasync();
      this.at += bytes.length;
    }
  }

  close(): Promise<void> {
    return this.file.close();
  }
}
