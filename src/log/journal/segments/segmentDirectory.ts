/** The directory of a segment, as `segmentFormat.ts` has it. */
import { crc32cRange } from "../../../base/crc32c.ts";
import { corrupt } from "../files/format.ts";

const entryBytes = 40;

/** Of one queue. */
export interface DirectoryEntry {
  readonly queue: number;
  readonly firstItem: number;
  readonly copies: number;
  readonly ids: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
  /** Content of the copies. */
  readonly bytes: number;
}

/** It stays as it was read: 40 bytes a queue; as objects it would take twice that. */
export class SegmentDirectory {
  private constructor(
    private readonly entries: Buffer,
    /** A bit an item; undefined: none is transient. */
    readonly transient: Uint8Array | undefined,
  ) {}

  /** @param bytes from the directory's begin to the end of the file, `directoryBytesMax` at most */
  static decode(bytes: Buffer, items: number, queues: number, where: string): SegmentDirectory {
    const withBits = bytes.length >= 4 && bytes.readUInt32LE(0) > 0;
    const begin = 4 + queues * entryBytes;
    const end = begin + (withBits ? Math.ceil(items / 8) : 0);
    if (bytes.length < end + 4 || crc32cRange(bytes, 0, end) !== bytes.readUInt32LE(end))
      throw corrupt(where, "the directory has a wrong checksum");
    return SegmentDirectory.ofParts(bytes.subarray(4, begin), withBits ? bytes.subarray(begin, end) : undefined);
  }

  static of(entries: readonly DirectoryEntry[], transient: Uint8Array | undefined): SegmentDirectory {
    return SegmentDirectory.ofParts(encodeEntries(entries), transient);
  }

  get queues(): number {
    return this.entries.length / entryBytes;
  }

  queue(n: number): number {
    return this.entries.readUInt32LE(n * entryBytes);
  }

  firstItem(n: number): number {
    return this.entries.readUInt32LE(n * entryBytes + 4);
  }

  copies(n: number): number {
    return this.entries.readUInt32LE(n * entryBytes + 8);
  }

  ids(n: number): number {
    return this.entries.readUInt32LE(n * entryBytes + 12);
  }

  firstOffset(n: number): number {
    return this.entries.readDoubleLE(n * entryBytes + 16);
  }

  lastOffset(n: number): number {
    return this.entries.readDoubleLE(n * entryBytes + 24);
  }

  encode(transients: number): Buffer {
    const head = Buffer.alloc(4);
    head.writeUInt32LE(transients, 0);
    const bytes = Buffer.concat([head, this.entries, this.transient ?? Buffer.alloc(0), Buffer.alloc(4)]);
    bytes.writeUInt32LE(crc32cRange(bytes, 0, bytes.length - 4), bytes.length - 4);
    return bytes;
  }

  /** Copies of them: what they were read with has more room than they need. */
  private static ofParts(entries: Buffer, transient: Uint8Array | undefined): SegmentDirectory {
    return new SegmentDirectory(Buffer.from(entries), transient && Uint8Array.from(transient));
  }
}

export const directoryBytesMax = (items: number, queues: number): number => 8 + queues * entryBytes + Math.ceil(items / 8);

function encodeEntries(entries: readonly DirectoryEntry[]): Buffer {
  const bytes = Buffer.alloc(entries.length * entryBytes);
  for (const [n, { queue, firstItem, copies, ids, firstOffset, lastOffset, bytes: contentBytes }] of entries.entries()) {
    const at = n * entryBytes;
    bytes.writeUInt32LE(queue, at);
    bytes.writeUInt32LE(firstItem, at + 4);
    bytes.writeUInt32LE(copies, at + 8);
    bytes.writeUInt32LE(ids, at + 12);
    bytes.writeDoubleLE(firstOffset, at + 16);
    bytes.writeDoubleLE(lastOffset, at + 24);
    bytes.writeDoubleLE(contentBytes, at + 32);
  }
  return bytes;
}
