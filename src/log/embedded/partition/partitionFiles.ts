import path from "node:path";
import type { Replacement } from "../compaction/segmentReplacement.ts";
import { loadProducers } from "../producers/producerLoad.ts";
import type { ProducerState } from "../producers/producerState.ts";
import type { HandleOwner } from "../reading/openHandles.ts";
import { SegmentWriter } from "../segment/segmentWriter.ts";
import { mendAbortedIndex, recoverAborted } from "../transactions/abortedRecovery.ts";
import { cutToSynced } from "./partitionRepair.ts";
import type { LogPosition, PartitionState, ReadableEnd } from "./partitionState.ts";
import type { PartitionOptions, PartitionSurroundings } from "./partitionSurroundings.ts";

/** A start after a kill reads at most about this much of a partition again. */
const RECOVERY_BYTES_MAX = 16 * 1024 * 1024;

/**
 * The files that a partition writes, and what the keyed store knows of them. Opened by the first call that needs them, put away by
 * `rest`. One call at a time, but for `startFrom`.
 */
export class PartitionFiles {
  private writer: SegmentWriter | undefined;
  /** A write or sync is under way, or failed: the file is not as `writer` thinks. */
  private touching = false;
  /** Below it the aborted transactions are indexed on the disk. */
  private indexed: LogPosition;
  private changes = 0;
  private used = false;
  /** Durable: `known` may have a higher one that is on its way, and what lies below that must not go yet. */
  private start: number;

  /** @param known as the keyed store has it, or soon will. */
  constructor(
    private readonly surroundings: PartitionSurroundings,
    private readonly options: PartitionOptions,
    private readonly owner: HandleOwner,
    private known: PartitionState,
  ) {
    this.indexed = known.synced;
    this.start = known.startOffset;
  }

  get startOffset(): number {
    return this.start;
  }

  get areOpen(): boolean {
    return this.writer !== undefined;
  }

  /** A write or sync failed: nothing can be written before `repair`. */
  get broken(): boolean {
    return this.touching;
  }

  /** See Watermark. */
  get generation(): number {
    return this.changes;
  }

  /** Files are not what readers have open or remember: once for the beginning, once for the end of it. */
  changed(times: 1 | 2): void {
    this.changes += times;
  }

  /** Compaction went over everything below it. */
  get cleanedTo(): number {
    return this.known.cleanedTo;
  }

  /** A replacement of segments that did not come to its end yet. */
  get replacing(): Replacement | undefined {
    return this.known.replacing;
  }

  /** As far as it is known to be written. */
  get end(): LogPosition {
    return this.touching || this.writer === undefined ? this.known.synced : this.writer.end;
  }

  /** Were they used since this was asked last? */
  askUsed(): boolean {
    const { used } = this;
    this.used = false;
    return used;
  }

  /** The producers of what is written, while the files are open. */
  get producers(): ProducerState | undefined {
    return this.writer?.producers;
  }

  /** Undefined: `open` comes first. Else the producers of what is written. */
  useOpen(): ProducerState | undefined {
    if (this.writer === undefined) return undefined;
    this.used = true;
    this.surroundings.handles.used(this.owner);
    return this.writer.producers;
  }

  async open(): Promise<void> {
    const { fileSystem, clock, producerIdExpirationMs } = this.surroundings;
    const { folder, config } = this.options;
    if (this.writer === undefined) {
      const { clean, synced } = this.known;
      if (clean) await this.markUnclean();
      const producers = await loadProducers(fileSystem, folder, synced, clock.now());
      await mendAbortedIndex(fileSystem, folder, synced, clock.now());
      producers.expire(clock.now(), producerIdExpirationMs);
      this.writer = await SegmentWriter.open(fileSystem, folder, config, synced, clean, producers);
    }
    this.useOpen();
  }

  /** To open files. Returns the new end. */
  write(pieces: readonly Buffer[], sync: boolean): Promise<ReadableEnd> {
    const now = this.surroundings.clock.now();
    return this.touch(async (writer) => {
      for (const piece of pieces) await writer.write(piece, now);
      if (sync) await writer.sync();
    });
  }

  async sync(): Promise<void> {
    if (this.writer !== undefined) await this.touch((writer) => writer.sync());
  }

  /** Begins the next segment, unless the last one is empty. */
  async roll(): Promise<ReadableEnd> {
    await this.open();
    return this.touch((writer) => writer.rollNow());
  }

  /** Forgets the producers whose time is over; false if there was none. `checkpoint` makes it last. */
  expireProducers(): boolean {
    const { clock, producerIdExpirationMs } = this.surroundings;
    return (this.writer?.producers.expire(clock.now(), producerIdExpirationMs) ?? 0) > 0;
  }

  /** What a start would have to read again is on the disk, in open files. */
  async checkpoint(): Promise<void> {
    await this.touch((writer) => writer.checkpoint());
  }

  /** Puts files and buffers away for a clean end. */
  async rest(): Promise<void> {
    const { writer } = this;
    if (writer === undefined) return;
    this.touching = true;
    await writer.seal();
    this.touching = false;
    await this.drop();
    this.indexed = writer.synced;
    await this.know({ ...this.known, synced: writer.synced, openFrom: writer.producers.openFrom, clean: true });
  }

  async drop(): Promise<void> {
    const { writer } = this;
    this.writer = undefined;
    this.surroundings.handles.released(this.owner);
    await writer?.close();
  }

  /** What is below is not kept any more. */
  async startFrom(offset: number): Promise<void> {
    await this.know({ ...this.known, startOffset: offset });
    this.start = offset;
  }

  /** Everything below `baseOffset`, where a segment begins, is synced: durably known when it resolves. */
  async restFrom(baseOffset: number): Promise<void> {
    if (this.known.synced.baseOffset >= baseOffset) return;
    const synced = { offset: baseOffset, baseOffset, bytes: 0 };
    if (this.indexed.baseOffset < baseOffset) this.indexed = synced;
    await this.know({ ...this.known, synced });
  }

  /** Durable when it resolves; from then on the replacement has to come to its end. */
  replace(replacing: Replacement): Promise<void> {
    return this.know({ ...this.known, replacing });
  }

  async replaced(): Promise<void> {
    const { replacing } = this.known;
    try {
      await this.know({ ...this.known, replacing: undefined });
    } catch (error) {
      this.known = { ...this.known, replacing }; // nobody knows what the store has: it is done again
      throw error;
    }
  }

  cleaned(cleanedTo: number): Promise<void> {
    return this.know({ ...this.known, cleanedTo });
  }

  /**
   * Goes back to what is surely on the disk, and on from there in a new segment.
   * @param goBack told before a file is cut: a reader that went on behind it would take the cut for damage.
   */
  async repair(goBack: (to: ReadableEnd) => void): Promise<ReadableEnd> {
    const { fileSystem, clock } = this.surroundings;
    const { folder } = this.options;
    const synced = this.writer?.synced ?? this.known.synced;
    await this.drop().catch(() => undefined);
    this.known = { ...this.known, synced };
    const producers = await loadProducers(fileSystem, folder, synced, clock.now());
    this.changed(2);
    goBack({ ...synced, openFrom: producers.openFrom });
    const end = await cutToSynced(fileSystem, folder, synced, producers);
    const { openFrom } = await recoverAborted(fileSystem, folder, this.indexed, end, clock.now());
    this.indexed = end;
    await this.know({ ...this.known, synced: end, clean: false });
    this.changed(2);
    this.touching = false;
    return { ...end, openFrom };
  }

  private async touch(work: (writer: SegmentWriter) => Promise<void>): Promise<ReadableEnd> {
    const writer = this.writer as SegmentWriter;
    this.touching = true;
    await work(writer);
    await this.noteSynced(writer);
    this.touching = false;
    return { ...writer.end, openFrom: writer.producers.openFrom };
  }

  private async markUnclean(): Promise<void> {
    try {
      await this.know({ ...this.known, clean: false });
    } catch (error) {
      this.known = { ...this.known, clean: true };
      throw error;
    }
  }

  /** Tells the keyed store now and then up to where all is synced, so that recovery need not read it again. */
  private async noteSynced(writer: SegmentWriter): Promise<void> {
    const { synced } = this.known;
    const reached = writer.synced;
    const sameSegment = reached.baseOffset === synced.baseOffset;
    if (sameSegment && reached.bytes - synced.bytes < RECOVERY_BYTES_MAX) return;
    if (reached.bytes > 0 && reached.offset === writer.end.offset) await writer.checkpoint();
    await writer.syncAborted();
    this.indexed = reached;
    // only a help for recovery: nobody waits for it
    this.know({ ...this.known, synced: reached }).catch(() => undefined);
  }

  private know(state: PartitionState): Promise<void> {
    this.known = state;
    return this.surroundings.states.put(path.basename(this.options.folder), state);
  }
}
