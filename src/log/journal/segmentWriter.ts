import { crc32cRange } from "../../base/crc32c.ts";
import { assert } from "../../base/errors.ts";
import type { File } from "../../base/fileSystem.ts";
import { EntryKind, entryHeadBytes } from "./format.ts";
import { encodeItem, encodeSegmentHeader, itemBytes, type SegmentHeader, type SegmentItem, segmentHeaderBytes } from "./segmentFormat.ts";

/** Written at once: small enough that filling it doesn't hold the loop. */
const chunkBytes = 512 * 1024;

/** A copy or an id that goes into the segment, and where in `source` its entry is. */
export interface LivingItem {
  readonly queue: number;
  readonly offset: number;
  readonly source: Buffer;
  readonly at: number;
  readonly bytes: number;
  readonly transient: boolean;
  /** Of an id; else undefined. */
  readonly dedupeId: string | undefined;
  readonly timestamp: number;
  /** Where it was. */
  readonly from: number;
}

/** Items by queue, each queue's in order of their offsets. */
export class LivingItems {
  private readonly byQueue = new Map<number, LivingItem[]>();
  count = 0;

  /** Of one queue the offsets must not decrease. */
  add(item: LivingItem): void {
    this.count++;
    const items = this.byQueue.get(item.queue);
    if (items === undefined) this.byQueue.set(item.queue, [item]);
    else items.push(item);
  }

  *[Symbol.iterator](): Generator<LivingItem> {
    for (const queue of [...this.byQueue.keys()].sort((a, b) => a - b)) yield* this.byQueue.get(queue) as LivingItem[];
  }
}

/**
 * Writes a segment and syncs it. A queue's entries lie together, so that its backlog is read in one go; a message that several queues
 * still have is there once.
 */
export async function writeSegment(handle: File, items: LivingItems): Promise<SegmentHeader> {
  const out = new ChunkedWriter(handle, segmentHeaderBytes);
  const written = new Map<Buffer, Map<number, number>>();
  const index: SegmentItem[] = [];
  for (const item of items) {
    let at = item.dedupeId === undefined ? written.get(item.source)?.get(item.at) : undefined;
    if (at === undefined) {
      at = out.position;
      await (item.dedupeId === undefined
        ? out.add(item.source, item.at, item.source.readUInt32LE(item.at))
        : out.addWhole(idEntry(item.dedupeId, item.timestamp)));
      if (item.dedupeId === undefined) {
        const ofSource = written.get(item.source) ?? new Map<number, number>();
        written.set(item.source, ofSource.set(item.at, at));
      }
    }
    const { queue, offset, bytes, transient } = item;
    index.push({ queue, offset, at, bytes, isId: item.dedupeId !== undefined, transient });
  }
  assert(out.position < 2 ** 32, "a segment's entries fit into 4 GiB");
  const indexAt = out.position;
  const encoded = Buffer.allocUnsafe(index.length * itemBytes);
  for (const [n, item] of index.entries()) encodeItem(encoded, n * itemBytes, item);
  await out.addWhole(encoded);
  await out.flush();
  const header = { items: index.length, indexAt, indexCrc: crc32cRange(encoded, 0, encoded.length) };
  const head = encodeSegmentHeader(header);
  await handle.write(head, 0, head.length, 0);
  await handle.sync();
  return header;
}

function idEntry(dedupeId: string, timestamp: number): Buffer {
  const length = entryHeadBytes + 8 + Buffer.byteLength(dedupeId);
  const entry = Buffer.alloc(length);
  entry.writeUInt32LE(length, 0);
  entry.writeUInt8(EntryKind.dedupeId, 12);
  entry.writeDoubleLE(timestamp, entryHeadBytes);
  entry.write(dedupeId, entryHeadBytes + 8, "utf8");
  entry.writeUInt32LE(crc32cRange(entry, 8, length), 4);
  return entry;
}

class ChunkedWriter {
  private readonly chunk = Buffer.allocUnsafeSlow(chunkBytes);
  private used = 0;

  constructor(
    private readonly handle: File,
    private flushed: number,
  ) {}

  get position(): number {
    return this.flushed + this.used;
  }

  addWhole(bytes: Buffer): Promise<void> {
    return this.add(bytes, 0, bytes.length);
  }

  async add(from: Buffer, at: number, length: number): Promise<void> {
    if (this.used + length > chunkBytes) await this.flush();
    if (length > chunkBytes) {
      await this.handle.write(from, at, length, this.flushed);
      this.flushed += length;
      return;
    }
    from.copy(this.chunk, this.used, at, at + length);
    this.used += length;
  }

  async flush(): Promise<void> {
    if (this.used === 0) return;
    await this.handle.write(this.chunk, 0, this.used, this.flushed);
    this.flushed += this.used;
    this.used = 0;
  }
}
