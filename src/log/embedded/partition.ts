import path from "node:path";
import type { ByteBudget } from "../../base/byteBudget.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { Logger } from "../../base/logger.ts";
import { encodeBatch } from "../../record/batch.ts";
import { BatchBuilder } from "../../record/batchBuilder.ts";
import { BATCH_HEADER_BYTES, BatchAttribute } from "../../record/batchHeader.ts";
import { Receipt } from "../../record/receipt.ts";
import type { NewRecord } from "../../record/record.ts";
import type { AppendedBatch } from "../contract/embeddedLog.ts";
import type { ProducerIdentity, TopicConfig } from "../contract/partitionedLog.ts";
import { type DiskSpace, diskFull } from "./diskSpace.ts";
import { admitBatch, stampBatch } from "./foreignBatch.ts";
import { indexesFit, rebuildIndexes } from "./indexCheck.ts";
import { baseOffsetsOf } from "./names.ts";
import type { BatchBuffers, OpenBatches } from "./openBatches.ts";
import type { HandleOwner, OpenHandles } from "./openHandles.ts";
import { checkIdentity, closedError, deletedError, failedError, outOfRange, tooLarge } from "./partitionErrors.ts";
import { cutToSynced } from "./partitionRepair.ts";
import type { LogPosition, PartitionState, PartitionStates } from "./partitionState.ts";
import { type ProducerState, producerIdOf } from "./producerState.ts";
import { loadProducers } from "./recovery.ts";
import { planRetention } from "./retention.ts";
import { removeSegmentFiles } from "./segmentFiles.ts";
import { SegmentWriter } from "./segmentWriter.ts";
import { WatermarkWriter } from "./watermark.ts";

/** What the partitions of a log have in common. */
export interface PartitionSurroundings {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly budget: ByteBudget;
  readonly states: PartitionStates;
  readonly handles: OpenHandles;
  readonly buffers: BatchBuffers;
  readonly space: DiskSpace;
}

export interface PartitionOptions {
  readonly folder: string;
  readonly topic: string;
  readonly partition: number;
  readonly config: TopicConfig;
  /** See EmbeddedTopic.onCut. */
  readonly onCut: (offset: number) => void;
}

/** A start after a kill reads at most about this much of a partition again. */
const RECOVERY_BYTES_MAX = 16 * 1024 * 1024;
/** After a failure the disk is tried again after so long, then after twice as long. */
const RETRY_MS = 500;
const RETRY_MS_MAX = 30_000;

interface SyncWaiter {
  /** Waits for everything below this offset. */
  readonly upTo: number;
  readonly settle: (failure: MillraceError | undefined) => void;
}

/** Work that needs the producers' state in memory. */
interface ProducerWork {
  readonly run: (producers: ProducerState) => void;
  readonly refuse: (failure: MillraceError) => void;
}

/**
 * The one writer of a partition. Records gather in `open` while the flush before is on its way: one write and one sync in flight,
 * whatever came meanwhile goes in the next. All work on the files happens in `run`, one step after the other. An idle partition has
 * neither files open nor buffers: `rest` has put them away.
 */
export class Partition implements HandleOwner {
  private readonly watermark = new WatermarkWriter();
  private readonly where: string;
  /** As the keyed store has it, or soon will. */
  private known: PartitionState;
  private nextOffset: number;
  private published: LogPosition;
  private generation = 0;

  private writer: SegmentWriter | undefined;
  /** Of everything that was appended, written or not. In memory while `writer` is and does not come to rest. */
  private producers: ProducerState | undefined;
  private producerWork: ProducerWork[] = [];

  private open: OpenBatches | undefined;
  private openBytes = 0;
  private inFlight: OpenBatches | undefined;
  private inFlightBytes = 0;
  /** A write or sync is under way, or failed: the file is not as `writer` thinks. */
  private touching = false;

  /** From the moment that `run` is on its way to the moment that it has nothing left to do. */
  private busy = false;
  private running: Promise<void> = Promise.resolve();
  private syncWaiters: SyncWaiter[] = [];
  private syncTimer: Timer | undefined;
  private syncDue = false;
  private rollDue = false;
  private restDue = false;
  private usedSinceMaintenance = false;
  /** What retention saw last, and when it has to look again although nothing changed: an idle partition's folder is left alone. */
  private retainedBase = -1;
  private retainedStart = -1;
  private retainAgainAt = 0;
  private indexesChecked = false;

  /** Why nothing is taken any more: closed, deleted or damaged. */
  private refusal: MillraceError | undefined;
  /** Why nothing is taken until the disk works again. */
  private trouble: MillraceError | undefined;
  private retryTimer: Timer | undefined;
  private retryMs = RETRY_MS;

  constructor(
    private readonly surroundings: PartitionSurroundings,
    private readonly options: PartitionOptions,
    state: PartitionState,
    damage: MillraceError | undefined,
  ) {
    this.where = `${options.topic}-${options.partition}`;
    this.known = state;
    this.nextOffset = state.synced.offset;
    this.refusal = damage;
    this.published = this.publish(state.synced);
  }

  get endOffset(): number {
    return this.nextOffset;
  }

  get highWatermark(): number {
    return this.published.offset;
  }

  get startOffset(): number {
    return this.known.startOffset;
  }

  get shared(): SharedArrayBuffer {
    return this.watermark.shared;
  }

  append(record: NewRecord, receipt: Receipt | undefined): number {
    this.checkTakes();
    const bound = BatchBuilder.boundOf(record);
    if (bound + BATCH_HEADER_BYTES > this.options.config.maxMessageBytes) this.checkSize([record]);
    const offset = this.nextOffset;
    const open = this.openBatches();
    const bytes = open.append(this.appendsTime ? this.stamped(record) : record, bound, offset);
    this.nextOffset = offset + 1;
    if (receipt !== undefined) open.join(receipt);
    this.took(bytes);
    return offset;
  }

  /** The portable append: see PartitionedLog. */
  async appendAs(producer: ProducerIdentity, sequence: number, records: readonly NewRecord[]): Promise<void> {
    this.checkTakes();
    if (records.length === 0) return;
    checkIdentity(producer, sequence, records.length, this.where);
    const claim = { id: producerIdOf(producer.name), epoch: producer.epoch, called: `"${producer.name}"` };
    await this.withProducers((producers) => {
      if (producers.check(claim, sequence, records.length, this.where, 0) === "new") {
        this.checkSize(records);
        const baseOffset = this.nextOffset;
        const stamped = this.appendsTime ? records.map((record) => this.stamped(record)) : records;
        const bytes = this.openBatches().appendBatch(stamped, baseOffset, { ...claim, baseSequence: sequence });
        this.nextOffset += records.length;
        const batch = { firstSequence: sequence, lastSequence: sequence + records.length - 1, baseOffset };
        producers.applied(claim.id, claim.epoch, batch, this.surroundings.clock.now());
        this.took(bytes);
      }
      return this.pendingDurable();
    });
  }

  /** See EmbeddedTopic. */
  async appendBatch(batch: Buffer): Promise<AppendedBatch> {
    this.checkTakes();
    const { claim, count, baseSequence } = admitBatch(batch, this.options.config, this.where);
    // whoever waits joins in the same turn: later the flush may be over, or have failed
    const durable = (appended: AppendedBatch): Promise<AppendedBatch> => this.pendingDurable().then(() => appended);
    const keep = (): AppendedBatch => {
      const baseOffset = this.nextOffset;
      const appendTime = this.appendsTime ? this.surroundings.clock.now() : undefined;
      stampBatch(batch, baseOffset, appendTime);
      const bytes = this.openBatches().appendEncoded(batch);
      this.nextOffset += count;
      this.took(bytes);
      return { baseOffset, logAppendTime: appendTime ?? -1, duplicate: false };
    };
    if (claim === undefined) return durable(keep());
    return this.withProducers((producers) => {
      const found = producers.check(claim, baseSequence, count, this.where, undefined);
      if (found !== "new") return durable({ baseOffset: found, logAppendTime: -1, duplicate: true });
      const kept = keep();
      producers.applyBatch(batch, 0);
      return durable(kept);
    });
  }

  joinPending(receipt: Receipt): void {
    if (this.trouble !== undefined) {
      receipt.join();
      receipt.leave(this.trouble);
    } else if (this.open !== undefined) this.open.join(receipt);
    else this.inFlight?.join(receipt);
  }

  async producerState(name: string): Promise<{ epoch: number; nextSequence: number } | undefined> {
    this.checkTakes();
    await this.pendingDurable();
    return this.withProducers((producers) => producers.standing(producerIdOf(name)));
  }

  /** Resolves when everything that was appended so far is on the disk, whatever the policy. */
  sync(): Promise<void> {
    const refusal = this.refusal ?? this.trouble;
    if (refusal !== undefined) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      this.syncWaiters.push({ upTo: this.nextOffset, settle: (failure) => (failure === undefined ? resolve() : reject(failure)) });
      this.schedule();
    });
  }

  /** See EmbeddedLog. */
  async deleteRecords(offset: number): Promise<number> {
    if (offset < 0 || offset > this.published.offset) throw outOfRange(this.where, offset, this.startOffset, this.published.offset);
    if (offset <= this.startOffset) return this.startOffset;
    await this.sync();
    await this.startFrom(offset);
    await this.retain();
    return this.startOffset;
  }

  /** What is done in the background now and then. One call at a time. */
  async maintain(): Promise<void> {
    if (this.refusal !== undefined || this.trouble !== undefined) return;
    if (!this.usedSinceMaintenance && this.writer !== undefined) this.releaseFiles();
    this.usedSinceMaintenance = false;
    await this.retain();
    if (!this.indexesChecked) await this.checkIndexes();
    this.indexesChecked = true;
  }

  releaseFiles(): void {
    if (this.refusal !== undefined) return;
    this.restDue = true;
    this.schedule();
  }

  /** Appends are refused from the first moment on; what was taken is kept. */
  async close(): Promise<void> {
    const takesRecords = this.refusal === undefined && this.trouble === undefined;
    const synced = takesRecords && (this.open !== undefined || this.busy || this.writer !== undefined) ? this.sync() : Promise.resolve();
    this.refusal ??= closedError(this.where);
    this.retryTimer?.cancel();
    try {
      await synced;
      await this.running;
      if (takesRecords) await this.rest();
    } finally {
      this.syncTimer?.cancel();
      await this.dropWriter();
    }
  }

  /** The topic is going: what is not durable yet fails, and readers are told. */
  async abandon(): Promise<void> {
    const deleted = deletedError(this.where);
    this.refusal = deleted;
    this.retryTimer?.cancel();
    this.settleOpen(deleted);
    await this.running;
    this.settleWaiting(deleted);
    this.syncTimer?.cancel();
    this.watermark.markDeleted();
    await this.dropWriter();
  }

  private checkTakes(): void {
    const refusal = this.refusal ?? this.trouble;
    if (refusal !== undefined) throw refusal;
  }

  private openBatches(): OpenBatches {
    this.open ??= this.surroundings.buffers.take(this.options.config.maxMessageBytes, this.appendsTime ? BatchAttribute.logAppendTime : 0);
    return this.open;
  }

  private get appendsTime(): boolean {
    return this.options.config.timestampType === "LogAppendTime";
  }

  private stamped(record: NewRecord): NewRecord {
    return { ...record, timestamp: this.surroundings.clock.now() };
  }

  /** Now if they are in memory; else as soon as they were read, in the order of the calls. */
  private withProducers<T>(work: (producers: ProducerState) => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = (producers: ProducerState): void => {
        try {
          resolve(work(producers));
        } catch (error) {
          reject(error as MillraceError);
        }
      };
      if (this.producers !== undefined && this.producerWork.length === 0) return run(this.producers);
      this.producerWork.push({ run, refuse: reject });
      this.schedule();
    });
  }

  private pendingDurable(): Promise<void> {
    return new Promise((resolve, reject) => {
      const receipt = new Receipt((failure) => (failure === undefined ? resolve() : reject(failure)));
      this.joinPending(receipt);
      receipt.seal();
    });
  }

  private checkSize(records: readonly NewRecord[]): void {
    const { maxMessageBytes } = this.options.config;
    const bound = records.reduce((bytes, record) => bytes + BatchBuilder.boundOf(record), BATCH_HEADER_BYTES);
    if (bound <= maxMessageBytes) return;
    const bytes = encodeBatch(records).length;
    if (bytes > maxMessageBytes) throw tooLarge(this.where, bytes, maxMessageBytes);
  }

  private took(bytes: number): void {
    this.openBytes += bytes;
    this.surroundings.budget.take(bytes);
    this.schedule();
  }

  /** At the end of the loop's turn, so that everything of the turn goes in one write. */
  private schedule(): void {
    if (this.busy) return;
    this.busy = true;
    this.running = new Promise((resolve) => {
      setImmediate(() => void this.run().then(resolve));
    });
  }

  /** Never rejects. */
  private async run(): Promise<void> {
    try {
      for (let step = this.nextStep(); step !== undefined; step = this.nextStep()) await step();
    } catch (error) {
      await this.fail(error);
    }
    this.busy = false;
  }

  private nextStep(): (() => Promise<void>) | undefined {
    const waiter = this.syncWaiters[0];
    if (this.syncDue || (waiter !== undefined && waiter.upTo <= this.published.offset)) return () => this.force();
    if (this.producerWork.length > 0) return () => this.workWithProducers();
    if (this.open !== undefined) return () => this.flush();
    if (this.rollDue) return () => this.roll();
    if (this.restDue) return () => this.rest();
    return undefined;
  }

  private async flush(): Promise<void> {
    const { space, buffers } = this.surroundings;
    const batches = this.open as OpenBatches;
    this.open = undefined;
    this.inFlight = batches;
    this.inFlightBytes = this.openBytes;
    this.openBytes = 0;
    const writer = await this.openWriter();
    const pieces = batches.take();
    await space.take(pieces.reduce((bytes, piece) => bytes + piece.length, 0));
    this.touching = true;
    for (const piece of pieces) await writer.write(piece);
    const { sync } = this.options.config;
    if (sync.kind === "always") await writer.sync();
    else if (sync.kind === "interval") this.syncIn(sync.ms);
    await this.noteSynced(writer);
    this.touching = false;
    this.published = this.publish(writer.end);
    this.settleInFlight(undefined);
    buffers.giveBack(batches);
  }

  private syncIn(ms: number): void {
    this.syncTimer ??= this.surroundings.clock.after(ms, () => {
      this.syncTimer = undefined;
      this.syncDue = true;
      this.schedule();
    });
  }

  private async force(): Promise<void> {
    const { offset } = this.published;
    this.syncDue = false;
    if (this.writer !== undefined) {
      this.touching = true;
      await this.writer.sync();
      await this.noteSynced(this.writer);
      this.touching = false;
    }
    while (this.syncWaiters[0] !== undefined && this.syncWaiters[0].upTo <= offset) this.syncWaiters.shift()?.settle(undefined);
  }

  private async workWithProducers(): Promise<void> {
    await this.openWriter();
    const producers = this.producers as ProducerState;
    for (const work of this.producerWork.splice(0)) work.run(producers);
  }

  private async openWriter(): Promise<SegmentWriter> {
    const { fileSystem, handles } = this.surroundings;
    const { folder, config } = this.options;
    this.usedSinceMaintenance = true;
    if (this.writer === undefined) {
      const { clean, synced } = this.known;
      if (clean) await this.markUnclean();
      const producers = await loadProducers(fileSystem, folder, synced);
      this.writer = await SegmentWriter.open(fileSystem, folder, config, synced, clean, producers);
      this.producers = producers.copy();
    }
    handles.used(this);
    return this.writer;
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
    // only a help for recovery: nobody waits for it
    this.know({ ...this.known, synced: reached }).catch(() => undefined);
  }

  private know(state: PartitionState): Promise<void> {
    this.known = state;
    return this.surroundings.states.put(path.basename(this.options.folder), state);
  }

  private async roll(): Promise<void> {
    this.rollDue = false;
    const writer = await this.openWriter();
    this.touching = true;
    await writer.rollNow();
    await this.noteSynced(writer);
    this.touching = false;
    this.published = this.publish(writer.end);
  }

  /** Files and buffers are put away; the next append takes them out again. */
  private async rest(): Promise<void> {
    this.restDue = false;
    const { writer } = this;
    if (writer === undefined) return;
    this.producers = undefined; // who comes meanwhile waits until they were read again
    this.touching = true;
    await writer.seal();
    this.touching = false;
    await this.dropWriter();
    await this.know({ ...this.known, synced: writer.synced, clean: true });
  }

  private async dropWriter(): Promise<void> {
    const { writer } = this;
    this.writer = undefined;
    this.producers = undefined;
    this.surroundings.handles.released(this);
    await writer?.close();
  }

  /** Durable before anyone is told; the files go after that. */
  private async startFrom(offset: number): Promise<void> {
    await this.know({ ...this.known, startOffset: offset });
    this.published = this.publish(this.published);
  }

  private async retain(): Promise<void> {
    const { fileSystem, clock, logger } = this.surroundings;
    const { folder, config } = this.options;
    const { baseOffset } = this.published;
    const now = clock.now();
    const nothingNew = baseOffset === this.retainedBase && this.startOffset === this.retainedStart;
    if (nothingNew && now < this.retainAgainAt) return;
    const plan = await planRetention(fileSystem, folder, config, this.published, this.startOffset, now);
    if (plan.keepFrom > this.startOffset) await this.startFrom(plan.keepFrom);
    for (const base of plan.remove) await removeSegmentFiles(fileSystem, folder, base);
    if (plan.remove.length > 0) {
      await fileSystem.syncDirectory(folder);
      logger.info("removed old segments", { partition: this.where, segments: plan.remove.length, startOffset: this.startOffset });
    }
    this.retainedBase = baseOffset;
    this.retainedStart = this.startOffset;
    this.retainAgainAt = plan.againAt;
    if (!plan.rollActive || this.rollDue) return;
    this.rollDue = true;
    this.schedule();
    await this.running;
    if (this.published.baseOffset !== baseOffset) await this.retain();
  }

  /** Of the segments that are not written any more: once, as only something from outside can spoil them. */
  private async checkIndexes(): Promise<void> {
    const { fileSystem, logger } = this.surroundings;
    const { folder } = this.options;
    for (const base of baseOffsetsOf(await fileSystem.list(folder))) {
      if (base >= this.published.baseOffset || (await indexesFit(fileSystem, folder, base))) continue;
      logger.warn("rebuilding the indexes of a segment", { folder, baseOffset: base });
      await rebuildIndexes(fileSystem, folder, base);
    }
  }

  private publish(end: LogPosition): LogPosition {
    const { startOffset } = this.known;
    const { generation } = this;
    this.watermark.publish({
      highWatermark: end.offset,
      position: end.bytes,
      activeBaseOffset: end.baseOffset,
      startOffset,
      generation,
    });
    return end;
  }

  /** What was not confirmed fails; then the partition goes on from what is surely there, as soon as the disk lets it. */
  private async fail(cause: unknown): Promise<void> {
    const { logger } = this.surroundings;
    const isFull = (cause as NodeJS.ErrnoException).code === "ENOSPC";
    const own = cause instanceof MillraceError && cause.code === "LOG_DISK_FULL" ? cause : undefined;
    const damage = cause instanceof MillraceError && cause.code === "LOG_CORRUPT" ? cause : undefined;
    const failure = damage ?? own ?? (isFull ? diskFull(this.where, undefined, 0, cause) : failedError(this.where, cause));
    this.trouble = failure;
    if (damage !== undefined) this.refusal ??= damage;
    this.syncTimer?.cancel();
    this.syncTimer = undefined;
    logger.error("a partition takes nothing for now", { partition: this.where, error: failure.toText() });
    const repaired = await this.repair();
    const end = repaired ?? this.written();
    this.nextOffset = end.offset;
    if (this.writer !== undefined) this.producers = this.writer.producers.copy();
    this.options.onCut(end.offset);
    this.settleInFlight(failure);
    this.settleOpen(failure);
    this.settleWaiting(failure);
    if (this.touching || own !== undefined || isFull) this.retryLater();
    else this.trouble = undefined;
  }

  private written(): LogPosition {
    return this.touching || this.writer === undefined ? this.known.synced : this.writer.end;
  }

  /** Undefined: there is nothing to repair, or not yet. */
  private async repair(): Promise<LogPosition | undefined> {
    if (!this.touching) return undefined;
    const { fileSystem, logger } = this.surroundings;
    try {
      const synced = this.writer?.synced ?? this.known.synced;
      await this.dropWriter().catch(() => undefined);
      this.known = { ...this.known, synced };
      const end = await cutToSynced(fileSystem, this.options.folder, synced);
      await this.know({ ...this.known, synced: end, clean: false });
      if (end.offset < this.published.offset) {
        logger.error("what was not synced yet is lost", { partition: this.where, from: end.offset, to: this.published.offset - 1 });
      }
      this.generation++;
      this.published = this.publish(end);
      this.touching = false;
      return end;
    } catch (error) {
      logger.warn("a partition's disk does not work yet", { partition: this.where, error });
      return undefined;
    }
  }

  private retryLater(): void {
    this.retryTimer = this.surroundings.clock.after(this.retryMs, () => void this.retry());
    this.retryMs = Math.min(this.retryMs * 2, RETRY_MS_MAX);
  }

  private async retry(): Promise<void> {
    if (this.refusal !== undefined) return;
    const repaired = await this.repair();
    if (repaired !== undefined) this.nextOffset = repaired.offset;
    if (this.touching) return this.retryLater();
    this.trouble = undefined;
    this.retryMs = RETRY_MS;
  }

  private settleWaiting(failure: MillraceError): void {
    this.syncDue = false;
    for (const waiter of this.syncWaiters.splice(0)) waiter.settle(failure);
    for (const work of this.producerWork.splice(0)) work.refuse(failure);
  }

  private settleInFlight(failure: MillraceError | undefined): void {
    const { inFlight, inFlightBytes } = this;
    this.inFlight = undefined;
    this.inFlightBytes = 0;
    this.surroundings.budget.release(inFlightBytes);
    inFlight?.settle(failure);
  }

  private settleOpen(failure: MillraceError): void {
    const { open, openBytes } = this;
    this.open = undefined;
    this.openBytes = 0;
    this.surroundings.budget.release(openBytes);
    open?.settle(failure);
  }
}
