import path from "node:path";
import { closeUnconcerned } from "../../../base/closing.ts";
import { MillraceError } from "../../../base/errors.ts";
import { saysNoRoom } from "../../../base/systemError.ts";
import type { Replacement } from "../compaction/segmentReplacement.ts";
import { loadProducers, sayDamagedTo } from "../producers/producerLoad.ts";
import type { ProducerState } from "../producers/producerState.ts";
import type { HandleOwner } from "../reading/openHandles.ts";
import type { AheadWrite } from "../segment/aheadWrite.ts";
import { timeIndexFits } from "../segment/indexCheck.ts";
import { SegmentWriter } from "../segment/segmentWriter.ts";
import { mendAbortedIndex, recoverAborted } from "../transactions/abortedRecovery.ts";
import { notOpened } from "./partitionErrors.ts";
import { cutToSynced } from "./partitionRepair.ts";
import { type LogPosition, type PartitionState, type ReadableEnd, segmentBegin } from "./partitionState.ts";
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
  /** The indexes were left whole by this process: what lay on the disk before is looked at once. */
  private sealedHere = false;
  /** What the keyed store surely has: `known` may be on its way there, or have failed on it. */
  private stored: PartitionState;

  /** @param known as the keyed store has it, or soon will. */
  constructor(
    private readonly surroundings: PartitionSurroundings,
    private readonly options: PartitionOptions,
    private readonly owner: HandleOwner,
    private known: PartitionState,
  ) {
    this.indexed = known.synced;
    this.stored = known;
  }

  /** Durable: what lies below a higher one that is on its way must not go yet. */
  get startOffset(): number {
    return this.stored.startOffset;
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

  /** Throws LOG_NOT_OPENED: nothing was written. */
  async open(): Promise<void> {
    const { handles } = this.surroundings;
    await handles.enter(this.owner);
    try {
      this.writer ??= await this.openWriter();
    } catch (error) {
      handles.released(this.owner);
      const isSaid = error instanceof MillraceError && error.code === "LOG_CORRUPT";
      throw isSaid || saysNoRoom(error) ? error : notOpened(this.options.folder, error);
    }
    this.useOpen();
  }

  private async openWriter(): Promise<SegmentWriter> {
    const { fileSystem, clock, logger, producerIdExpirationMs } = this.surroundings;
    const { folder, config } = this.options;
    const { clean, synced } = this.known;
    if (clean) await this.markUnclean();
    const producers = await loadProducers(fileSystem, folder, synced, clock.now(), sayDamagedTo(logger));
    await mendAbortedIndex(fileSystem, folder, synced, clock.now(), logger);
    producers.expire(clock.now(), producerIdExpirationMs);
    const indexesWhole = clean && (this.sealedHere || (await timeIndexFits(fileSystem, folder, synced.baseOffset, synced.bytes)));
    return SegmentWriter.open(fileSystem, folder, config, synced, indexesWhole, producers, logger);
  }

  /** What is being written ahead of `write`. */
  get ahead(): AheadWrite | undefined {
    return this.writer?.ahead;
  }

  /** Begins to write what `write` gets next, or `cutAhead` comes before it. False: not now. */
  writeAhead(batch: Buffer): boolean {
    const { writer } = this;
    if (this.touching || !writer?.takesAhead(batch) || !this.surroundings.space.takeAtOnce(batch.length)) return false;
    writer.writeAhead(batch);
    return true;
  }

  async cutAhead(): Promise<void> {
    await this.touch((writer) => writer.cutAhead());
  }

  /** For what `write` gets next. Throws LOG_DISK_FULL. Undefined: it was there at once. */
  takeRoom(bytes: number): Promise<void> | undefined {
    const { space } = this.surroundings;
    const more = bytes - (this.ahead?.bytes.length ?? 0);
    if (more === 0 || space.takeAtOnce(more)) return undefined;
    return space.take(more).catch((error: unknown) => {
      this.touching ||= this.ahead !== undefined; // refused with the others: it must not stay
      throw error;
    });
  }

  /** To open files. Returns the new end. */
  write(pieces: readonly Buffer[], sync: boolean): Promise<ReadableEnd> {
    const now = this.surroundings.clock.now();
    return this.touch(async (writer) => {
      const last = pieces.at(-1);
      for (const piece of pieces) await writer.write(piece, now, sync && piece === last);
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
    this.sealedHere = true;
    const { synced } = writer;
    // from here on it is the end without a writer too
    this.known = { ...this.known, synced, openFrom: writer.producers.openFrom };
    this.indexed = synced;
    this.touching = false;
    await this.drop();
    await this.know({ ...this.known, clean: true });
  }

  /** What of the files counts is synced, or given up. Never rejects. */
  async drop(): Promise<void> {
    const { writer } = this;
    this.writer = undefined;
    await closeUnconcerned(writer, this.surroundings.logger, this.options.folder);
    this.surroundings.handles.released(this.owner);
  }

  /** What is below is not kept any more. */
  async startFrom(offset: number): Promise<void> {
    try {
      await this.know({ ...this.known, startOffset: offset });
    } catch (error) {
      this.known = { ...this.known, startOffset: this.startOffset }; // who asked was told that it failed
      throw error;
    }
  }

  /** Everything below `baseOffset`, where a segment begins, is synced: durably known when it resolves. */
  async restFrom(baseOffset: number): Promise<void> {
    if (this.stored.synced.baseOffset >= baseOffset) return;
    const begin = segmentBegin(baseOffset);
    if (this.indexed.baseOffset < baseOffset) this.indexed = begin;
    const { synced } = this.known;
    await this.know({ ...this.known, synced: synced.baseOffset >= baseOffset ? synced : begin });
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
   * @param goBack told at once, whatever the disk does then: nobody reads any more what is given up, nor takes the cut for damage. Again as
   * soon as it is known which transactions are open there; until then it is those of what is `published`.
   */
  async repair(published: ReadableEnd, goBack: (to: ReadableEnd) => void): Promise<ReadableEnd> {
    const synced = this.writer?.synced ?? this.known.synced;
    this.known = { ...this.known, synced };
    await this.drop();
    goBack({ ...synced, openFrom: published.openFrom });
    const { handles } = this.surroundings;
    return handles.briefly(() => this.repairNow(goBack));
  }

  private async repairNow(goBack: (to: ReadableEnd) => void): Promise<ReadableEnd> {
    const { fileSystem, clock, logger } = this.surroundings;
    const { folder } = this.options;
    const { synced } = this.known;
    const producers = await loadProducers(fileSystem, folder, synced, clock.now(), sayDamagedTo(logger));
    this.changed(2);
    goBack({ ...synced, openFrom: producers.openFrom });
    const end = await cutToSynced(fileSystem, folder, synced, producers);
    const { openFrom } = await recoverAborted(fileSystem, folder, this.indexed, end, clock.now(), logger);
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

  private async know(state: PartitionState): Promise<void> {
    this.known = state;
    await this.surroundings.states.put(path.basename(this.options.folder), state);
    this.stored = state;
  }
}
