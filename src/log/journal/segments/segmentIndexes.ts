import { corrupt } from "../files/format.ts";
import type { Segment } from "./segment.ts";
import { areBlocksWhole, blockItems, decodeItem, indexBytes, itemAt, type SegmentItem } from "./segmentFormat.ts";

/** So many pages of indexes stay in memory, those used last: 1.3 MB. */
const pagesMax = 64;
export const pageItemsDefault = 1024;

/** Items [begin, end) of a segment's index. */
export interface IndexPage {
  readonly begin: number;
  readonly end: number;
  readonly version: number;
  readonly bytes: Buffer;
}

export const itemsOf = (page: IndexPage, ordinal: number): SegmentItem =>
  decodeItem(page.bytes, itemAt(ordinal - page.begin, page.version));

/** The segments' indexes, a page at a time, checked. */
export class SegmentIndexes {
  /** By segment and page, in the order of their last use. */
  private readonly pages = new Map<number, Promise<IndexPage>>();

  constructor(
    private readonly pageItems: number,
    /** What is there of it, if less. */
    private readonly read: (segment: Segment, at: number, length: number) => Promise<Buffer>,
    /** Makes a damaged index anew, from the entries. */
    private readonly repair: (segment: Segment) => Promise<void>,
  ) {
    if (pageItems % blockItems !== 0) throw new RangeError("a page has whole blocks");
  }

  beginOfPage(ordinal: number): number {
    return ordinal - (ordinal % this.pageItems);
  }

  endOfPage(segment: Segment, ordinal: number): number {
    return Math.min(this.beginOfPage(ordinal) + this.pageItems, segment.items);
  }

  page(segment: Segment, ordinal: number): Promise<IndexPage> {
    const begin = this.beginOfPage(ordinal);
    const key = segment.serial * 2 ** 28 + begin;
    const found = this.pages.get(key);
    if (found !== undefined) {
      this.pages.delete(key);
      this.pages.set(key, found);
      return found;
    }
    const page = this.load(segment, begin, this.endOfPage(segment, ordinal));
    this.pages.set(key, page);
    page.catch(() => this.pages.delete(key)); // the next read tries again
    for (const oldest of this.pages.keys()) {
      if (this.pages.size <= pagesMax) break;
      this.pages.delete(oldest);
    }
    return page;
  }

  private async load(segment: Segment, begin: number, end: number): Promise<IndexPage> {
    const { version, indexAt } = segment.header;
    const at = indexAt + itemAt(begin, version);
    const length = indexBytes(end - begin, version);
    for (let repaired = version === 1; ; repaired = true) {
      const bytes = await this.read(segment, at, length);
      if (bytes.length === length && (version === 1 || areBlocksWhole(bytes))) return { begin, end, version, bytes };
      if (repaired) throw corrupt(`${segment.path} at byte ${at}`, "the index has a wrong checksum");
      await this.repair(segment);
    }
  }
}
