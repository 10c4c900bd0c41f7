import { crc32cRange } from "../../../base/crc32c.ts";
import { assert } from "../../../base/errors.ts";
import type { File } from "../../../base/fileSystem.ts";
import { EntryKind, endEntryBytes, entryHeadBytes } from "../files/format.ts";
import { IndexBuilder } from "./indexBuilder.ts";
import {
  encodeItem,
  encodeSegmentHeader,
  formatVersion,
  idHeadBytes,
  itemBytes,
  SegmentEntryKind,
  type SegmentHeader,
  type SegmentItem,
  segmentHeaderBytes,
} from "./segmentFormat.ts";

/** Written at once: small enough that filling it doesn't hold the loop. */
const chunkBytes = 512 * 1024;
const copiesPerEntryMax = 2048;
/** Of so many items each chunk of `froms` is. */
const fromsChunk = 4096;

/** A copy or an id that goes into the segment. */
export interface LivingItem {
  readonly queue: number;
  readonly offset: number;
  /** Of the content; of an id 0. */
  readonly bytes: number;
  readonly transient: boolean;
  /** Where it was. */
  readonly from: number;
}

/**
 * Writes a segment, item by item in the order of the index. A queue's entries lie together, so that its backlog is read in one go; a
 * message that several queues still have is there once. In memory it holds of each item 28 bytes, and more of an id or a message with
 * several destinations.
 */
export class SegmentWriter {
  readonly index = new IndexBuilder();
  /** Ids in the order of their items. */
  readonly ids: string[] = [];
  private readonly out: ChunkedWriter;
  private readonly froms: Float64Array[] = [];
  /** Where messages with several destinations went, by what the caller calls them. */
  private readonly written = new Map<number, number>();
  /** Copies of messages with several destinations, as the entries will have them. */
  private readonly shared: Buffer[] = [];
  private sharedItems = 0;

  constructor(private readonly handle: File) {
    this.out = new ChunkedWriter(handle, segmentHeaderBytes);
  }

  /** Where the item was. */
  from(ordinal: number): number {
    return this.froms[Math.floor(ordinal / fromsChunk)]?.[ordinal % fromsChunk] as number;
  }

  /** The message is there already. @param key of an entry with several destinations */
  again(item: LivingItem, key: number): boolean {
    const at = this.written.get(key);
    if (at === undefined) return false;
    this.addCopy(item, at, true);
    return true;
  }

  /** The entry at `source[at]`. A promise: wait for it, what is to be written is in it. */
  copy(item: LivingItem, source: Buffer, at: number, key: number): Promise<void> | undefined {
    const isShared = source.readUInt32LE(at + 24) !== 1;
    if (isShared && this.again(item, key)) return undefined;
    const to = this.out.position;
    if (isShared) this.written.set(key, to);
    this.addCopy(item, to, isShared);
    return this.out.add(source, at, source.readUInt32LE(at));
  }

  id(item: LivingItem, timestamp: number, dedupeId: string): Promise<void> | undefined {
    const { queue, offset, from } = item;
    this.add({ queue, offset, at: this.out.position, bytes: 0, isId: true, transient: false }, from);
    this.ids.push(dedupeId);
    const body = Buffer.alloc(idHeadBytes.v2 + Buffer.byteLength(dedupeId));
    body.writeUInt32LE(queue, 0);
    body.writeDoubleLE(offset, 4);
    body.writeDoubleLE(timestamp, 12);
    body.write(dedupeId, idHeadBytes.v2, "utf8");
    return this.out.addWhole(entryOf(SegmentEntryKind.rememberedId, body));
  }

  /** Whole and synced. */
  async finish(): Promise<{ readonly header: SegmentHeader; readonly fileBytes: number }> {
    const { shared, out } = this;
    for (const [n, body] of shared.entries()) {
      const items = Math.min(copiesPerEntryMax, this.sharedItems - n * copiesPerEntryMax);
      await out.addWhole(entryOf(SegmentEntryKind.copies, body.subarray(0, items * itemBytes)));
    }
    await out.addWhole(entryOf(EntryKind.end, Buffer.alloc(endEntryBytes - entryHeadBytes)));
    return finishSegment(this.handle, out, this.index);
  }

  private addCopy({ queue, offset, bytes, transient, from }: LivingItem, at: number, isShared: boolean): void {
    const item = { queue, offset, at, bytes, isId: false, transient };
    if (isShared) this.addShared(item);
    this.add(item, from);
  }

  private addShared(item: SegmentItem): void {
    const place = this.sharedItems++ % copiesPerEntryMax;
    if (place === 0) this.shared.push(Buffer.allocUnsafeSlow(copiesPerEntryMax * itemBytes));
    encodeItem(this.shared.at(-1) as Buffer, place * itemBytes, item);
  }

  private add(item: SegmentItem, from: number): void {
    const inChunk = this.index.items % fromsChunk;
    if (inChunk === 0) this.froms.push(new Float64Array(fromsChunk));
    (this.froms.at(-1) as Float64Array)[inChunk] = from;
    this.index.add(item);
  }
}

/** Behind the entries, up to `end`: index, directory, and then the header. */
export async function finishSegment(
  handle: File,
  out: ChunkedWriter,
  index: IndexBuilder,
): Promise<{ readonly header: SegmentHeader; readonly fileBytes: number }> {
  assert(out.position < 2 ** 32, "a segment's entries fit into 4 GiB");
  const header = { version: formatVersion, items: index.items, indexAt: out.position, queuesOrCrc: index.queues };
  for (const part of index.encoded()) await out.addWhole(part);
  await out.flush();
  const head = encodeSegmentHeader(header);
  await handle.write(head, 0, head.length, 0);
  await handle.sync();
  return { header, fileBytes: out.position };
}

function entryOf(kind: number, body: Buffer): Buffer {
  const length = entryHeadBytes + body.length;
  const entry = Buffer.alloc(length);
  entry.writeUInt32LE(length, 0);
  entry.writeUInt8(kind, 12);
  body.copy(entry, entryHeadBytes);
  entry.writeUInt32LE(crc32cRange(entry, 8, length), 4);
  return entry;
}

/** Collects what is small. */
export class ChunkedWriter {
  private readonly chunk = Buffer.allocUnsafeSlow(chunkBytes);
  private used = 0;

  constructor(
    private readonly handle: File,
    private flushed: number,
  ) {}

  get position(): number {
    return this.flushed + this.used;
  }

  addWhole(bytes: Buffer): Promise<void> | undefined {
    return this.add(bytes, 0, bytes.length);
  }

  /** Undefined: done. A wait for each entry would take longer than its copying. */
  add(from: Buffer, at: number, length: number): Promise<void> | undefined {
    if (this.used + length > chunkBytes) return this.flushAndAdd(from, at, length);
    from.copy(this.chunk, this.used, at, at + length);
    this.used += length;
    return undefined;
  }

  async flush(): Promise<void> {
    if (this.used === 0) return;
    const { used } = this;
    this.used = 0;
    this.flushed += used;
    await this.handle.write(this.chunk, 0, used, this.flushed - used);
  }

  private async flushAndAdd(from: Buffer, at: number, length: number): Promise<void> {
    await this.flush();
    if (length <= chunkBytes) return void this.add(from, at, length);
    this.flushed += length;
    await this.handle.write(from, at, length, this.flushed - length);
  }
}
