import { lowerBound } from "../../../base/lowerBound.ts";
import type { KeptCopy, KeptRun, OffsetRange, QueueId } from "../../contract/queueJournal.ts";
import { isDamage } from "../files/format.ts";
import type { IndexBuilder } from "./indexBuilder.ts";
import type { Segment } from "./segment.ts";
import type { SegmentItem } from "./segmentFormat.ts";
import { type IndexPage, itemsOf, type SegmentIndexes } from "./segmentIndexes.ts";

/** What runs need of the segments around them. */
export interface RunHost {
  readonly indexes: SegmentIndexes;
  /** Copies of the segment are gone. */
  released(segment: Segment): void;
  /** Releases them so that a restart does not bring them back once the journal is synced. */
  releaseDurably(run: SegmentRun, range: OffsetRange): Promise<void>;
  /** These items can't be known any more, nor what they are of. */
  lost(segment: Segment, from: number, to: number, error: unknown): void;
}

/** A queue's copies in a segment. */
export class SegmentRun implements KeptRun {
  constructor(
    private readonly host: RunHost,
    readonly segment: Segment,
    /** In the segment's directory. */
    private readonly place: number,
  ) {}

  get queue(): QueueId {
    return this.segment.directory.queue(this.place);
  }

  get firstOffset(): number {
    return this.segment.directory.firstOffset(this.place);
  }

  get lastOffset(): number {
    return this.segment.directory.lastOffset(this.place);
  }

  get begin(): number {
    return this.segment.directory.firstItem(this.place);
  }

  /** Version 1 has the ids between the copies. */
  get end(): number {
    const copies = this.segment.directory.copies(this.place);
    return this.begin + copies + (this.segment.header.version === 1 ? this.ids : 0);
  }

  get idRange(): { readonly begin: number; readonly end: number } {
    const { begin, end } = this;
    return this.segment.header.version === 1 ? { begin, end } : { begin: end, end: end + this.ids };
  }

  get hasIds(): boolean {
    return this.ids > 0;
  }

  get live(): number {
    return this.segment.countCopies(this.begin, this.end);
  }

  private get ids(): number {
    return this.segment.directory.ids(this.place);
  }

  /** The item of an offset is known without a look at the index. */
  get isDense(): boolean {
    return this.segment.header.version > 1 && this.end - this.begin === this.lastOffset - this.firstOffset + 1;
  }

  async load({ from, to }: OffsetRange, most: number): Promise<readonly KeptCopy[]> {
    const { segment } = this;
    const copies: KeptCopy[] = [];
    let ordinal = await this.ordinalOf(from, this.begin);
    for (;;) {
      ordinal = segment.nextCopy(ordinal, this.end);
      if (ordinal === this.end) return copies;
      const page = await this.pageOf(ordinal);
      if (page === undefined) continue; // what was in it lives no more
      const end = Math.min(page.end, this.end);
      for (; ordinal < end; ordinal = segment.nextCopy(ordinal + 1, this.end)) {
        const { offset, bytes, transient, isId } = itemsOf(page, ordinal);
        if (offset > to || copies.length === most) return copies;
        if (!isId) copies.push({ offset, position: segment.positionOf(ordinal), contentBytes: bytes, persistent: !transient });
      }
    }
  }

  async release(range: OffsetRange, durably: boolean): Promise<void> {
    if (durably) return this.host.releaseDurably(this, range);
    const { from, to } = range;
    try {
      const begin = await this.ordinalOf(from, this.begin);
      const end = await this.ordinalOf(to + 1, begin);
      if (!this.segment.retired) this.segment.endCopies(begin, end);
      this.host.released(this.segment);
    } catch (error) {
      // in the segment that replaced it they don't live: nobody said that they moved
      if (!this.segment.retired) throw error;
    }
  }

  /**
   * The first item from this offset on; `end` if there is none.
   * @param hint it is not before this one
   */
  async ordinalOf(offset: number, hint: number): Promise<number> {
    if (offset <= this.firstOffset) return this.begin;
    if (offset > this.lastOffset) return this.end;
    if (this.isDense) return this.begin + offset - this.firstOffset;
    let low = hint;
    let high = this.end;
    // first the page of the hint: acknowledgements come almost in order
    for (let at = low; low < high; at = (low + high) >>> 1) {
      const page = await this.pageOf(at);
      if (page === undefined) {
        // not known: as if it were before
        low = Math.min(high, this.host.indexes.endOfPage(this.segment, at));
        continue;
      }
      const begin = Math.max(low, page.begin);
      const end = Math.min(high, page.end);
      if (itemsOf(page, begin).offset >= offset) high = begin;
      else if (itemsOf(page, end - 1).offset < offset) low = end;
      else return lowerBound(begin, end, (ordinal) => itemsOf(page, ordinal).offset >= offset);
    }
    return low;
  }

  /** The same, while the index that was written is in memory. */
  itemFrom(offset: number, index: IndexBuilder): number {
    return lowerBound(this.begin, this.end, (ordinal) => index.offset(ordinal) >= offset);
  }

  /** Is it the copy of this offset? */
  async holdsAt(ordinal: number, offset: number): Promise<boolean> {
    if (ordinal === this.end) return false;
    if (this.isDense) return true;
    const page = await this.pageOf(ordinal);
    const item: SegmentItem | undefined = page && itemsOf(page, ordinal);
    return item?.offset === offset && !item.isId;
  }

  private async pageOf(ordinal: number): Promise<IndexPage | undefined> {
    const { host, segment } = this;
    try {
      return await host.indexes.page(segment, ordinal);
    } catch (error) {
      if (!isDamage(error)) throw error;
      const end = Math.min(this.end, host.indexes.endOfPage(segment, ordinal));
      host.lost(segment, Math.max(this.begin, host.indexes.beginOfPage(ordinal)), end, error);
      return undefined;
    }
  }
}
