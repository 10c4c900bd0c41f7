/**
 * Compaction by key, as Kafka's LogCleaner does it. A pass reads the part of the log that was not compacted yet into a map of each key's
 * latest offset, then writes every segment from the log's start to there anew, without the records that a later one of their key replaces.
 *
 *   - a record at or above the end of the map stays; below it, the latest of its key
 *   - a record without value (a tombstone) stays until delete.retention.ms after the first pass that went over it: that pass writes the
 *     time into its batch, the delete horizon
 *   - of a batch of which no record stays, an empty one does if it is its producer's last, or the last one of its segment: the producer's
 *     sequence goes on from there, and a segment always reaches to the next one
 *   - of an aborted transaction no record stays, and its records hide none
 *   - a marker that ends a transaction stays for as long as a pass finds a batch of it. The first pass that finds none writes a delete
 *     horizon into the marker, as into a tombstone, and takes the transaction out of the aborted ones; a pass after that takes the marker
 *     out. One that alone says its producer's epoch stays
 *   - segments that together are no larger than one become one
 */
import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import {
  attributesAt,
  BatchAttribute,
  BatchField,
  baseOffsetAt,
  countAt,
  lastOffsetAt,
  producerIdAt,
  readInt64,
} from "../../../record/batchHeader.ts";
import { isTransactionalAt, markerAt } from "../../../record/controlBatch.ts";
import { type BatchFate, type BatchFilter, FilteredBatch } from "../../../record/filterBatch.ts";
import type { RecordCursor } from "../../../record/recordCursor.ts";
import type { TopicConfig } from "../../contract/partitionedLog.ts";
import { SEGMENT_BYTES_MAX } from "../../contract/topicProperties.ts";
import type { DiskSpace } from "../diskSpace.ts";
import type { ProducerState } from "../producers/producerState.ts";
import { isHidden } from "../reading/committedBatches.ts";
import { abortedIndexFileName, CLEANED_SUFFIX } from "../segment/names.ts";
import { SegmentBatches } from "../segment/segmentBatches.ts";
import { type AbortedEntry, writeAbortedIndex } from "../transactions/abortedIndex.ts";
import { AbortedRanges } from "../transactions/abortedRanges.ts";
import { trueAborted } from "../transactions/abortedRecovery.ts";
import { CleanedSegment } from "./cleanedSegment.ts";
import type { RolledSegment } from "./compactionPlan.ts";
import type { AbortedIn, DirtyKeys } from "./dirtyKeys.ts";
import { digestInTurns, takesTurns } from "./keyOffsets.ts";
import type { Slices } from "./slices.ts";

export interface CompactionSurroundings {
  readonly fileSystem: FileSystem;
  readonly folder: string;
  readonly config: TopicConfig;
  readonly space: DiskSpace;
  readonly slices: Slices;
  readonly now: number;
  readonly abortedIn: AbortedIn;
}

/** What decides which records stay. */
export interface CompactionRules {
  readonly keys: DirtyKeys;
  /** As of an offset up to which all is durable, at or above what is compacted. */
  readonly producers: ProducerState;
  /** The producers with a transaction of which the pass has met a batch, and the marker not yet. */
  readonly openTransactions: Set<bigint>;
}

/** Writes the cleaned form of segments that become one. False: there was nothing to take out, and no file is left. */
export async function cleanSegments(
  surroundings: CompactionSurroundings,
  group: readonly RolledSegment[],
  rules: CompactionRules,
): Promise<boolean> {
  const { fileSystem, folder, space, slices } = surroundings;
  const base = (group[0] as RolledSegment).baseOffset;
  const cleaned = await CleanedSegment.create(fileSystem, folder, base, space, slices);
  try {
    const cleaner = new Cleaner(surroundings, cleaned, rules, (group.at(-1) as RolledSegment).nextBase);
    for (const segment of group) await cleaner.clean(segment);
    if (group.length === 1 && !cleaner.changedAny) return false;
    await cleaned.finish();
    if (group.length > 1 || cleaner.forgotten.size > 0) await joinAborted(surroundings, group, cleaner.forgotten);
    return true;
  } finally {
    await cleaned.close();
  }
}

/**
 * What the indexes of aborted transactions of the segments say, in one, but for some. An empty one may take the place of one that was not.
 */
async function joinAborted(
  { fileSystem, folder, now }: CompactionSurroundings,
  group: readonly RolledSegment[],
  forgotten: ReadonlySet<number>,
): Promise<void> {
  const entries: AbortedEntry[] = [];
  for (const { baseOffset, bytes, nextBase: offset } of group) {
    entries.push(...(await trueAborted(fileSystem, folder, { offset, baseOffset, bytes }, now)).entries);
  }
  if (entries.length === 0) return;
  const name = abortedIndexFileName((group[0] as RolledSegment).baseOffset);
  const left = entries.filter(({ lastOffset }) => !forgotten.has(lastOffset));
  await writeAbortedIndex(fileSystem, path.join(folder, name + CLEANED_SUFFIX), left);
}

class Cleaner implements BatchFilter {
  changedAny = false;
  emptyStays = false;
  deleteHorizon: number | undefined;
  /** The markers of aborted transactions of which nothing is left but the marker. */
  readonly forgotten = new Set<number>();
  private horizonIsOver = false;
  private allGo = false;
  private marker: "none" | "stays" | "mortal" = "none";
  private aborted = new AbortedRanges([]);
  private readonly filtered = new FilteredBatch();

  constructor(
    private readonly surroundings: CompactionSurroundings,
    private readonly cleaned: CleanedSegment,
    private readonly rules: CompactionRules,
    private readonly groupEnd: number,
  ) {}

  async clean({ baseOffset, nextBase }: RolledSegment): Promise<void> {
    const { fileSystem, folder, slices, abortedIn } = this.surroundings;
    this.aborted = new AbortedRanges(await abortedIn(baseOffset, nextBase));
    const batches = await SegmentBatches.open(fileSystem, folder, baseOffset, nextBase);
    try {
      for (;;) {
        if (!batches.next()) {
          const read = await batches.fill();
          if (read === 0) return;
          await slices.moved(read);
          continue;
        }
        const { bytes, at, end } = batches;
        const fate = await this.fateOf(bytes, at);
        if (fate !== "same") this.changedAny = true;
        if (fate === "same") await this.cleaned.add(bytes, at, end);
        else if (fate !== "gone") await this.cleaned.add(this.filtered.bytes, 0, this.filtered.bytes.length);
        if (slices.over) await slices.pause();
      }
    } finally {
      await batches.close();
    }
  }

  keeps(cursor: RecordCursor): boolean | Generator<undefined, boolean> {
    const { offset, bytes, keyAt, keyBytes } = cursor;
    const { keys } = this.rules;
    if (this.allGo) return false;
    if (this.marker !== "none") return this.marker === "stays" || !this.horizonIsOver;
    if (offset >= keys.end || keyBytes < 0) return true;
    if (takesTurns(keyBytes)) return this.keepsLargeKey(cursor);
    return this.keepsAsOf(keys.offsets.get(bytes, keyAt, keyBytes), cursor);
  }

  private *keepsLargeKey(cursor: RecordCursor): Generator<undefined, boolean> {
    const digest = yield* digestInTurns(cursor.bytes, cursor.keyAt, cursor.keyBytes);
    return this.keepsAsOf(this.rules.keys.offsets.getDigest(digest), cursor);
  }

  private keepsAsOf(latestOffset: number, { offset, valueBytes }: RecordCursor): boolean {
    return latestOffset <= offset && (valueBytes >= 0 || !this.horizonIsOver);
  }

  isMortal({ valueBytes }: RecordCursor): boolean {
    return this.marker === "mortal" || (this.marker === "none" && valueBytes < 0);
  }

  private fateOf(bytes: Buffer, at: number): Promise<BatchFate> {
    this.prepare(bytes, at, attributesAt(bytes, at));
    return this.surroundings.slices.through(this.filtered.filter(bytes, at, this));
  }

  /** What holds for all records of a batch. */
  private prepare(bytes: Buffer, at: number, attributes: number): void {
    const { keys, producers, openTransactions } = this.rules;
    const { now, config } = this.surroundings;
    const { deleteRetentionMs } = config;
    const next = lastOffsetAt(bytes, at) + 1;
    const isLast = producers.isLastBatch(bytes, at);
    const isMarker = (attributes & BatchAttribute.control) !== 0;
    this.marker = isMarker ? this.markerFate(bytes, at, isLast) : "none";
    if (!isMarker && isTransactionalAt(bytes, at)) openTransactions.add(producerIdAt(bytes, at));
    this.allGo = !isMarker && isHidden(bytes, at, this.aborted);
    this.emptyStays = next === this.groupEnd || isLast;
    const horizon = (attributes & BatchAttribute.deleteHorizon) === 0 ? undefined : readInt64(bytes, at + BatchField.baseTimestamp);
    this.horizonIsOver = horizon !== undefined && horizon <= now;
    // a batch may grow a little by its delete horizon
    const mayGrow = this.cleaned.bytes + 2 * bytes.length < SEGMENT_BYTES_MAX;
    this.deleteHorizon = next <= keys.end && mayGrow && Number.isSafeInteger(now + deleteRetentionMs) ? now + deleteRetentionMs : undefined;
  }

  /** A pass goes over the log from its start: what it did not meet before a marker is not there any more. */
  private markerFate(bytes: Buffer, at: number, isLast: boolean): "stays" | "mortal" {
    const marker = markerAt(bytes, at);
    if (marker === undefined && countAt(bytes, at) > 0) return "stays"; // one of a later version
    if (this.rules.openTransactions.delete(producerIdAt(bytes, at))) return "stays";
    if (marker?.outcome === "abort") this.forgotten.add(baseOffsetAt(bytes, at));
    return isLast ? "stays" : "mortal";
  }
}
