import type { File } from "../../../base/fileSystem.ts";
import { corrupt, decodeMessage, EntryKind, entryHeadBytes, isEntry } from "./format.ts";

/** Read ahead: a backlog of 200-byte messages then costs one system call in a thousand. */
const blockBytes = 256 * 1024;
/** So many places can be read from in turns (queues with a backlog) without reading anything twice: 4 MiB in all. */
const blocksMax = 16;

/** A file to read from. It keeps its identity as long as its bytes stay what they are. */
export interface ReadSource {
  readonly path: string;
  /** The file is neither reused nor closed while the task runs. */
  use<T>(task: (handle: File) => Promise<T>): Promise<T>;
}

interface Block {
  readonly source: ReadSource;
  readonly start: number;
  readonly end: number;
  readonly bytes: Promise<Buffer>;
}

/** Reads messages back from the files, checked by their CRC. */
export class JournalReader {
  /** The one used last is the last. */
  private readonly blocks: Block[] = [];

  /** @param writtenEnd how far the file is written: nothing behind it is kept in a block, since it will change */
  async message(
    source: ReadSource,
    offset: number,
    writtenEnd: number,
  ): Promise<{ address: Buffer; contentFormat: number; content: Buffer }> {
    const block = this.blockFor(source, offset, writtenEnd);
    let bytes = await block.bytes;
    let at = offset - block.start;
    const length = bytes.length - at < entryHeadBytes ? 0 : bytes.readUInt32LE(at);
    if (length > bytes.length - at && length <= writtenEnd - offset) {
      bytes = await load(source, offset, length);
      at = 0;
    }
    if (!isEntry(bytes, at, bytes.length) || bytes[at + 12] !== EntryKind.message) {
      throw corrupt(`${source.path} at byte ${offset}`, "there is no whole message where one was written");
    }
    return decodeMessage(bytes, at);
  }

  /** `length` bytes that are not checked. */
  async raw(source: ReadSource, offset: number, length: number, writtenEnd: number): Promise<Buffer> {
    const block = this.blockFor(source, offset, writtenEnd);
    const at = offset - block.start;
    const bytes = (await block.bytes).subarray(at, at + length);
    if (bytes.length < length) throw corrupt(`${source.path} at byte ${offset}`, "the file was cut short");
    return bytes;
  }

  private blockFor(source: ReadSource, offset: number, writtenEnd: number): Block {
    const index = this.blocks.findLastIndex(
      (block) => block.source === source && offset >= block.start && offset + Math.min(blockBytes / 8, writtenEnd - offset) <= block.end,
    );
    let block = this.blocks[index];
    if (block === undefined) {
      const end = Math.min(offset + blockBytes, writtenEnd);
      const bytes = load(source, offset, end - offset);
      block = { source, start: offset, end, bytes };
      bytes.catch(() => this.blocks.splice(0)); // the next read tries again
      if (this.blocks.length === blocksMax) this.blocks.shift();
    } else this.blocks.splice(index, 1);
    this.blocks.push(block);
    return block;
  }
}

function load(source: ReadSource, offset: number, length: number): Promise<Buffer> {
  return source.use(async (handle) => {
    const bytes = Buffer.allocUnsafe(length);
    return bytes.subarray(0, await handle.read(bytes, 0, length, offset));
  });
}
