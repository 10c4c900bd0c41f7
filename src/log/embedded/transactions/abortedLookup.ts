import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import { lowerBound } from "../../../base/lowerBound.ts";
import { undefinedIfMissing } from "../../../base/systemError.ts";
import type { AbortedTransaction } from "../../contract/embeddedLog.ts";
import type { Watermark } from "../reading/watermark.ts";
import { abortedIndexesOf, abortedIndexFileName } from "../segment/names.ts";
import {
  ABORTED_ENTRY_BYTES,
  type AbortedEntry,
  beforeSegment,
  type DecodedAborted,
  decodeAborted,
  joinedAborted,
} from "./abortedIndex.ts";
import { abortedBelow, endOfSegment } from "./abortedRecovery.ts";

/** Entries that stay in memory, of 80 bytes or so. */
const ENTRIES_KEPT_MAX = 50_000;

const nothing: DecodedAborted = { entries: [], damage: undefined };

interface SegmentEntries {
  readonly entries: readonly AbortedEntry[];
  /** All that is published up to this high watermark is among them; Infinity of a segment that is not written any more. */
  readonly completeTo: number;
}

/**
 * Which transactions were aborted in a range of offsets, from the segments' `.txnindex` files. Remembers what it read; what is new in the
 * segment that is being written is read behind that.
 */
export class AbortedLookup {
  private generation = -1;
  /** The segment that was being written when the folder was looked at. */
  private listedAt = -1;
  /** The segments that have such a file, ascending. */
  private indexed: readonly number[] = [];
  private segments = new Map<number, SegmentEntries>();
  private entriesKept = 0;

  constructor(
    private readonly fileSystem: FileSystem,
    private readonly folder: string,
    /** A file is damaged: it is to be made again. */
    private readonly onDamage: () => void,
  ) {}

  /** Only what lies below the last stable offset. */
  async between(from: number, before: number, mark: Watermark): Promise<AbortedTransaction[]> {
    const to = Math.min(before, mark.lastStableOffset);
    if (mark.generation !== this.generation) this.forget(mark.generation);
    const found: AbortedTransaction[] = [];
    for (const base of await this.indexedFrom(from, mark)) {
      const entries = await this.entriesOf(base, mark);
      const first = lowerBound(0, entries.length, (i) => (entries[i] as AbortedEntry).lastOffset >= from);
      for (let i = first; i < entries.length; i++) {
        const entry = entries[i] as AbortedEntry;
        const { producerId, firstOffset, lastOffset } = entry;
        if (firstOffset < to) found.push({ producerId, firstOffset, lastOffset });
        if (entry.lastStableOffset >= to) return found;
      }
    }
    return found;
  }

  private forget(generation: number): void {
    this.generation = generation;
    this.listedAt = -1;
    this.segments = new Map();
    this.entriesKept = 0;
  }

  /** The segments that may have a marker at or above `from`. */
  private async indexedFrom(from: number, { activeBaseOffset }: Watermark): Promise<number[]> {
    if (this.listedAt !== activeBaseOffset) {
      this.indexed = abortedIndexesOf(await this.fileSystem.list(this.folder)).filter((base) => base < activeBaseOffset);
      this.listedAt = activeBaseOffset;
    }
    const { indexed } = this;
    const holding = indexed.findLastIndex((base) => base <= from);
    return [...indexed.slice(Math.max(0, holding)), activeBaseOffset];
  }

  private async entriesOf(base: number, mark: Watermark): Promise<readonly AbortedEntry[]> {
    const known = this.segments.get(base);
    if (known !== undefined && known.completeTo >= mark.highWatermark) return known.entries;
    const { generation } = this;
    const before = known?.entries ?? [];
    const { entries: more, damage } = await this.read(base, before);
    let entries = [...before, ...more];
    if (damage !== undefined) {
      this.onDamage();
      entries = joinedAborted(entries, await this.madeAgain(base, mark));
    }
    if (generation === this.generation) {
      const completeTo = base < mark.activeBaseOffset ? Number.POSITIVE_INFINITY : mark.highWatermark;
      this.remember(base, { entries, completeTo });
    }
    return entries;
  }

  /** What lies behind the entries that are known. */
  private async read(base: number, known: readonly AbortedEntry[]): Promise<DecodedAborted> {
    const name = path.join(this.folder, abortedIndexFileName(base));
    if ((await this.fileSystem.stat(name)) === undefined) return nothing;
    const file = await this.fileSystem.open(name, "read").catch(undefinedIfMissing);
    // retention went over the segment meanwhile: what ended in it is below what is kept
    if (file === undefined) return nothing;
    try {
      const from = known.length * ABORTED_ENTRY_BYTES;
      const bytes = Buffer.allocUnsafe(Math.max(0, (await file.bytes()) - from));
      const length = await file.read(bytes, 0, bytes.length, from);
      return decodeAborted(bytes.subarray(0, length), known.at(-1) ?? beforeSegment(base));
    } finally {
      await file.close();
    }
  }

  /** The file waits for the partition's upkeep; meanwhile the batches say it. */
  private async madeAgain(base: number, mark: Watermark): Promise<AbortedEntry[]> {
    const { fileSystem, folder } = this;
    const end = await endOfSegment(fileSystem, folder, base);
    return abortedBelow(fileSystem, folder, base === mark.activeBaseOffset ? { ...end, bytes: mark.position } : end, 0);
  }

  private remember(base: number, segment: SegmentEntries): void {
    this.entriesKept += segment.entries.length - (this.segments.get(base)?.entries.length ?? 0);
    this.segments.delete(base);
    this.segments.set(base, segment);
    for (const [other, { entries }] of this.segments) {
      if (this.entriesKept <= ENTRIES_KEPT_MAX || other === base) return;
      this.segments.delete(other);
      this.entriesKept -= entries.length;
    }
  }
}
