import { nextTurn } from "../../../base/nextTurn.ts";
import { EntryKind, isDamage, isEntry } from "../files/format.ts";
import { EntryWindow } from "./entryWindow.ts";
import type { Segment } from "./segment.ts";
import { decodeId, itemAt, SegmentEntryKind, type SegmentItem } from "./segmentFormat.ts";
import { itemsOf, type SegmentIndexes } from "./segmentIndexes.ts";
import type { SegmentRun } from "./segmentRun.ts";
import type { SegmentWriter } from "./segmentWriter.ts";
import { Slice } from "./slice.ts";

/** An entry of this segment is damaged, or its index is and can't be made anew. */
export interface Damage {
  readonly segment: Segment;
  readonly at: number;
}

/** One of the segments that become one. */
interface Source {
  readonly segment: Segment;
  readonly number: number;
  readonly runs: ReadonlyMap<number, SegmentRun>;
  readonly entries: EntryWindow;
}

/**
 * Writes what lives in these segments, queue by queue; of a queue's copies their offsets increase from segment to segment. In memory is
 * a window of each segment, a page of its index, and what the writer holds.
 */
export class SegmentMerge {
  private readonly slice = new Slice();
  private readonly sources: readonly Source[];

  constructor(
    segments: readonly { readonly segment: Segment; readonly runs: readonly SegmentRun[] }[],
    private readonly indexes: SegmentIndexes,
    read: (segment: Segment, at: number, length: number) => Promise<Buffer>,
    private readonly writer: SegmentWriter,
  ) {
    this.sources = segments.map(({ segment, runs }, number) => {
      return { segment, number, runs: new Map(runs.map((run) => [run.queue, run])), entries: new EntryWindow(segment, read) };
    });
  }

  /** Undefined: all is written. */
  async run(): Promise<Damage | undefined> {
    const queues = new Set(this.sources.flatMap(({ runs }) => [...runs.keys()]));
    for (const queue of [...queues].sort((a, b) => a - b)) {
      for (const ids of [false, true]) {
        for (const source of this.sources) {
          const run = source.runs.get(queue);
          const damaged = run === undefined ? undefined : await this.items(source, run, ids);
          if (damaged !== undefined) return { segment: source.segment, at: damaged };
        }
      }
    }
    return undefined;
  }

  private async items({ segment, number, entries }: Source, run: SegmentRun, ids: boolean): Promise<number | undefined> {
    const { begin, end } = ids ? run.idRange : run;
    for (let ordinal = begin; ordinal < end; ) {
      const page = await this.indexes.page(segment, ordinal).catch(undefinedIfDamaged);
      if (page === undefined) return segment.header.indexAt + itemAt(ordinal, segment.header.version);
      for (const pageEnd = Math.min(end, page.end); ordinal < pageEnd; ordinal++) {
        if (this.slice.isOver(segment.isAlive(ordinal) ? 2 : 1 / 64)) await nextTurn(); // checked and copied: twice the work of a look
        if (!segment.isAlive(ordinal)) continue;
        const item = itemsOf(page, ordinal);
        if (item.isId !== ids) continue;
        const living = { ...item, from: segment.positionOf(ordinal) };
        const key = number * 2 ** 32 + item.at;
        if (!ids && this.writer.again(living, key)) continue;
        if (!entries.has(item.at)) await entries.load(item.at);
        const { bytes } = entries;
        const at = item.at - entries.start;
        if (!isWhole(bytes, at, item)) return item.at;
        const { timestamp, dedupeId } = ids ? decodeId(bytes, at) : { timestamp: 0, dedupeId: "" };
        const written = ids ? this.writer.id(living, timestamp, dedupeId) : this.writer.copy(living, bytes, at, key);
        if (written !== undefined) await written;
      }
    }
    return undefined;
  }
}

function undefinedIfDamaged(error: unknown): undefined {
  if (!isDamage(error)) throw error;
}

function isWhole(bytes: Buffer, at: number, { isId }: SegmentItem): boolean {
  if (!isEntry(bytes, at, bytes.length)) return false;
  const kind = bytes[at + 12];
  return isId ? kind === SegmentEntryKind.rememberedId || kind === SegmentEntryKind.dedupeId : kind === EntryKind.message;
}
