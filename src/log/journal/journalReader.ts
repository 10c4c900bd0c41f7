import { corrupt, decodeMessage, EntryKind, entryHeadBytes, isEntry } from "./format.ts";
import type { JournalFiles } from "./journalFiles.ts";

/** Read ahead: a backlog of 200-byte messages then costs one system call in a thousand. */
const blockBytes = 256 * 1024;
/** So many places can be read from in turns (queues with a backlog) without reading anything twice: 4 MiB in all. */
const blocksMax = 16;

interface Block {
  readonly sequence: number;
  readonly start: number;
  readonly end: number;
  readonly bytes: Promise<Buffer>;
}

/** Reads messages back from the files, checked by their CRC. */
export class JournalReader {
  /** The one used last is the last. */
  private readonly blocks: Block[] = [];

  constructor(private readonly files: JournalFiles) {}

  /** @param writtenEnd how far the file is written: nothing behind it is kept in a block, since it will change */
  async read(sequence: number, offset: number, writtenEnd: number): Promise<{ address: Buffer; contentFormat: number; content: Buffer }> {
    const file = this.files.at(sequence);
    file.pins++; // not reused meanwhile
    try {
      const block = this.blockFor(sequence, offset, writtenEnd);
      let bytes = await block.bytes;
      let at = offset - block.start;
      const length = bytes.length - at < entryHeadBytes ? 0 : bytes.readUInt32LE(at);
      if (length > bytes.length - at && length <= writtenEnd - offset) {
        bytes = await this.load(sequence, offset, length);
        at = 0;
      }
      if (!isEntry(bytes, at, bytes.length) || bytes[at + 12] !== EntryKind.message) {
        throw corrupt(`${file.path} at byte ${offset}`, "there is no whole message where one was written");
      }
      return decodeMessage(bytes, at);
    } finally {
      this.files.unpin(file);
    }
  }

  private blockFor(sequence: number, offset: number, writtenEnd: number): Block {
    const index = this.blocks.findLastIndex(
      (block) =>
        block.sequence === sequence && offset >= block.start && offset + Math.min(blockBytes / 8, writtenEnd - offset) <= block.end,
    );
    let block = this.blocks[index];
    if (block === undefined) {
      const end = Math.min(offset + blockBytes, writtenEnd);
      const bytes = this.load(sequence, offset, end - offset);
      block = { sequence, start: offset, end, bytes };
      bytes.catch(() => this.blocks.splice(0)); // the next read tries again
      if (this.blocks.length === blocksMax) this.blocks.shift();
    } else this.blocks.splice(index, 1);
    this.blocks.push(block);
    return block;
  }

  private async load(sequence: number, offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    const handle = await this.files.at(sequence).ready;
    return bytes.subarray(0, await handle.read(bytes, 0, length, offset));
  }
}
