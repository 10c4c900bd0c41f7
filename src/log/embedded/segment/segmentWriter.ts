import { closedIfFails, closeUnconcerned } from "../../../base/closing.ts";
import type { FileSystem } from "../../../base/fileSystem.ts";
import type { Logger } from "../../../base/logger.ts";
import {
  BatchField,
  baseOffsetAt,
  batchBytesAt,
  lastOffsetAt,
  lastOffsetDeltaAt,
  maxTimestampAt,
  writeInt64,
} from "../../../record/batchHeader.ts";
import { markBatch } from "../../../record/batchMark.ts";
import { isControlAt } from "../../../record/controlBatch.ts";
import type { TopicConfig } from "../../contract/partitionedLog.ts";
import { type LogPosition, segmentBegin } from "../partition/partitionState.ts";
import type { ProducerState } from "../producers/producerState.ts";
import { writeSnapshot } from "../producers/snapshotFile.ts";
import type { AheadWrite } from "./aheadWrite.ts";
import { SEGMENT_OFFSETS_MAX } from "./offsetIndex.ts";
import { Segment } from "./segment.ts";

/** Writes a partition's batches into its last segment and rolls to the next one. One call at a time. */
export class SegmentWriter {
  private syncedEnd: LogPosition;

  private constructor(
    private readonly fileSystem: FileSystem,
    private readonly folder: string,
    private readonly config: TopicConfig,
    private active: Segment,
    private nextOffset: number,
    /** The producers of what is written; those of what is only appended would be wrong in a snapshot. */
    readonly producers: ProducerState,
    private readonly logger: Logger,
  ) {
    this.syncedEnd = this.end;
  }

  /** At the partition's end, all of which is synced. */
  static async open(
    fileSystem: FileSystem,
    folder: string,
    config: TopicConfig,
    end: LogPosition,
    indexesWhole: boolean,
    producers: ProducerState,
    logger: Logger,
  ): Promise<SegmentWriter> {
    const active = await Segment.open(fileSystem, folder, end.baseOffset, end.bytes, indexesWhole);
    return new SegmentWriter(fileSystem, folder, config, active, end.offset, producers, logger);
  }

  /** Of what is written. */
  get end(): LogPosition {
    return { offset: this.nextOffset, baseOffset: this.active.baseOffset, bytes: this.active.bytes };
  }

  /** Of what is surely on the disk. */
  get synced(): LogPosition {
    return this.syncedEnd;
  }

  /** The latest timestamp in the segment that is being written. */
  get latestTimestamp(): number {
    return this.active.latestTimestamp;
  }

  get ahead(): AheadWrite | undefined {
    return this.active.ahead;
  }

  /** May a batch that is the next one be written before it is given to `write`? Not if it begins a segment, or what is before it is not synced. */
  takesAhead(batch: Buffer): boolean {
    const { active, nextOffset } = this;
    if (this.syncedEnd.offset !== nextOffset || active.ahead !== undefined) return false;
    const lastOffset = nextOffset + lastOffsetDeltaAt(batch, 0);
    return active.bytes === 0 || !this.isFull(active.bytes + batch.length, lastOffset, maxTimestampAt(batch, 0));
  }

  /** `write` gets it next, or `cutAhead` is called. */
  writeAhead(batch: Buffer): void {
    writeInt64(batch, BatchField.baseOffset, this.nextOffset);
    markBatch(batch, 0, true);
    this.active.writeAhead(batch);
  }

  cutAhead(): Promise<void> {
    return this.active.cutAhead();
  }

  /**
   * Batches that lie back to back in `bytes`, and came at `now`; their marks are put in where they lie. `synced`: in one trip with the write
   * where all before it is synced, so that a `sync` behind it has nothing left to do.
   */
  async write(bytes: Buffer, now: number, synced: boolean): Promise<void> {
    let unsynced = this.syncedEnd.offset !== this.nextOffset;
    let from = 0;
    for (let at = 0; at < bytes.length; ) {
      markBatch(bytes, at, this.syncedEnd.offset === this.nextOffset);
      const baseOffset = baseOffsetAt(bytes, at);
      const lastOffset = lastOffsetAt(bytes, at);
      const timestamp = maxTimestampAt(bytes, at);
      const batchBytes = batchBytesAt(bytes, at);
      const position = this.active.bytes + at - from;
      // a marker is of now, and the records may be of long ago: its time is no reason for another segment
      const age = isControlAt(bytes, at) ? Number.NEGATIVE_INFINITY : timestamp;
      if (position > 0 && this.isFull(position + batchBytes, lastOffset, age)) {
        await this.writeToActive(bytes.subarray(from, at), false);
        from = at;
        await this.roll(baseOffset);
        unsynced = false;
      }
      this.active.noteBatch(lastOffset, this.active.bytes + at - from, timestamp);
      const aborted = this.producers.applyBatch(bytes, at, now);
      if (aborted !== undefined) this.active.noteAborted(aborted);
      this.nextOffset = lastOffset + 1;
      at += batchBytes;
    }
    const inOneTrip = synced && !unsynced;
    await this.writeToActive(bytes.subarray(from), inOneTrip);
    if (inOneTrip) this.syncedEnd = this.end;
  }

  async sync(): Promise<void> {
    const { end } = this;
    if (end.offset === this.syncedEnd.offset) return;
    await this.active.sync();
    this.syncedEnd = end;
  }

  /** What is written so far, with the producers that go with it: recovery reads on from here. */
  async checkpoint(): Promise<void> {
    await this.sync();
    await writeSnapshot(this.fileSystem, this.folder, this.nextOffset, this.producers, this.active.baseOffset, false);
  }

  /** What recovery relies on, beside the batches, where it goes on from what is synced. */
  syncAborted(): Promise<void> {
    return this.active.syncAborted();
  }

  /** For a clean end: everything on the disk, with what the next start relies on. */
  async seal(): Promise<void> {
    await this.checkpoint();
    await this.active.syncIndexes();
  }

  /** Begins the next segment, unless this one is empty. */
  async rollNow(): Promise<void> {
    if (this.active.bytes > 0) await this.roll(this.nextOffset);
  }

  close(): Promise<void> {
    return this.active.close();
  }

  private isFull(bytes: number, lastOffset: number, timestamp: number): boolean {
    const { active, config } = this;
    if (bytes > config.segmentBytes || lastOffset - active.baseOffset > SEGMENT_OFFSETS_MAX) return true;
    const { firstTimestamp } = active;
    return firstTimestamp !== undefined && timestamp - firstTimestamp > config.segmentMs;
  }

  private async writeToActive(bytes: Buffer, synced: boolean): Promise<void> {
    if (bytes.length > 0) await this.active.write(bytes, synced);
  }

  /** The order is what recovery relies on: a segment that is not the last one is whole on the disk, and so are its indexes. */
  private async roll(baseOffset: number): Promise<void> {
    await this.sync();
    await this.active.syncIndexes();
    await writeSnapshot(this.fileSystem, this.folder, baseOffset, this.producers, baseOffset, true);
    // before the next one: never are the files of two segments open
    await closeUnconcerned(this.active, this.logger, this.folder);
    const next = await Segment.create(this.fileSystem, this.folder, baseOffset);
    await closedIfFails(next, () => this.fileSystem.syncDirectory(this.folder));
    this.active = next;
    this.syncedEnd = segmentBegin(baseOffset);
  }
}
