import { type DirectoryEntry, SegmentDirectory } from "./segmentDirectory.ts";
import { blockItems, decodeItem, encodeItem, indexBytes, itemAt, type SegmentItem, sealBlock } from "./segmentFormat.ts";

const pageItems = blockItems * 64;
const pageBytes = indexBytes(pageItems, 2);

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Index and directory of a segment in the making: 20 bytes an item, and a bit. */
export class IndexBuilder {
  private readonly pages: Buffer[] = [];
  private readonly entries: Mutable<DirectoryEntry>[] = [];
  private transientBits = new Uint8Array(128);
  private transients = 0;
  items = 0;

  /** In the order of the index. */
  add(item: SegmentItem): void {
    const { queue, offset, bytes, isId, transient } = item;
    const ordinal = this.items++;
    const inPage = ordinal % pageItems;
    if (inPage === 0) this.pages.push(Buffer.allocUnsafeSlow(pageBytes));
    const page = this.pages.at(-1) as Buffer;
    encodeItem(page, itemAt(inPage, 2), item);
    if (this.items % blockItems === 0) this.seal(page, inPage + 1 - blockItems, blockItems);
    let entry = this.entries.at(-1);
    if (entry?.queue !== queue) {
      entry = { queue, firstItem: ordinal, copies: 0, ids: 0, firstOffset: 0, lastOffset: -1, bytes: 0 };
      this.entries.push(entry);
    }
    if (isId) {
      entry.ids++;
      return;
    }
    if (entry.copies++ === 0) entry.firstOffset = offset;
    entry.lastOffset = offset;
    entry.bytes += bytes;
    if (transient) this.setTransient(ordinal);
  }

  get queues(): number {
    return this.entries.length;
  }

  /** When all is added. */
  directory(): SegmentDirectory {
    const bits = new Uint8Array(Math.ceil(this.items / 8));
    bits.set(this.transientBits.subarray(0, bits.length));
    return SegmentDirectory.of(this.entries, this.transients === 0 ? undefined : bits);
  }

  item(ordinal: number): SegmentItem {
    return decodeItem(this.pages[Math.floor(ordinal / pageItems)] as Buffer, itemAt(ordinal % pageItems, 2));
  }

  offset(ordinal: number): number {
    return (this.pages[Math.floor(ordinal / pageItems)] as Buffer).readDoubleLE(itemAt(ordinal % pageItems, 2) + 4);
  }

  /** To be written one after the other, when all is added. */
  *encoded(): Generator<Buffer> {
    const rest = this.items % blockItems;
    if (rest > 0) this.seal(this.pages.at(-1) as Buffer, ((this.items - 1) % pageItems) + 1 - rest, rest);
    for (const [n, page] of this.pages.entries()) yield page.subarray(0, indexBytes(Math.min(pageItems, this.items - n * pageItems), 2));
    yield this.directory().encode(this.transients);
  }

  private seal(page: Buffer, first: number, items: number): void {
    sealBlock(page, itemAt(first, 2), items);
  }

  private setTransient(ordinal: number): void {
    if (ordinal >>> 3 >= this.transientBits.length) {
      const larger = new Uint8Array(((ordinal >>> 3) + 1) * 2);
      larger.set(this.transientBits);
      this.transientBits = larger;
    }
    (this.transientBits[ordinal >>> 3] as number) |= 1 << (ordinal & 7);
    this.transients++;
  }
}
