import type { MillraceError } from "../../base/errors.ts";
import { BatchBuilder } from "../../record/batchBuilder.ts";
import { BATCH_HEADER_BYTES } from "../../record/batchHeader.ts";
import { Receipt } from "../../record/receipt.ts";
import type { NewRecord } from "../../record/record.ts";
import type { AppendedBatch } from "../contract/embeddedLog.ts";
import type { ProducerIdentity } from "../contract/partitionedLog.ts";
import { AppendedProducers } from "./appendedProducers.ts";
import { checkRecordsFit } from "./batchSize.ts";
import { type CompactedPartition, Compaction, compacts } from "./compaction.ts";
import { admitBatch, stampBatch } from "./foreignBatch.ts";
import type { HandleOwner } from "./openHandles.ts";
import { checkDeletes, checkIdentity, closedError, deletedError, outOfRange } from "./partitionErrors.ts";
import { PartitionFiles } from "./partitionFiles.ts";
import type { LogPosition, PartitionState } from "./partitionState.ts";
import type { PartitionOptions, PartitionSurroundings } from "./partitionSurroundings.ts";
import { PartitionTrouble, type TroubledPartition } from "./partitionTrouble.ts";
import { type KeptPartition, PartitionUpkeep } from "./partitionUpkeep.ts";
import { PendingAppends } from "./pendingAppends.ts";
import { producerIdOf } from "./producerState.ts";
import { checkBatchKeys, checkRecordKeys, keyMissing } from "./recordKeys.ts";
import { SyncRequests } from "./syncRequests.ts";
import { UpkeepTurns } from "./upkeepTurns.ts";
import { WatermarkWriter } from "./watermark.ts";

/**
 * The one writer of a partition. Records gather in `pending` while the flush before is on its way: one write and one sync in flight,
 * whatever came meanwhile goes in the next. All work on the files that are written happens in `run`, one step after the other. An idle
 * partition has neither files open nor buffers: `rest` has put them away.
 */
export class Partition implements HandleOwner, KeptPartition, TroubledPartition, CompactedPartition {
  readonly where: string;
  readonly files: PartitionFiles;
  private readonly watermark = new WatermarkWriter();
  private readonly pending: PendingAppends;
  private readonly producers = new AppendedProducers(() => this.schedule());
  private readonly syncs: SyncRequests;
  private readonly upkeep: PartitionUpkeep;
  private readonly trouble: PartitionTrouble;
  private readonly compacts: boolean;
  private nextOffset: number;
  private lastPublished: LogPosition;

  /** From the moment that `run` is on its way to the moment that it has nothing left to do. */
  private busy = false;
  private running: Promise<void> = Promise.resolve();
  private rollDue = false;
  private restDue = false;
  private readonly upkeepTurns = new UpkeepTurns();

  /** Why nothing is taken any more: closed, deleted or damaged. */
  private refusal: MillraceError | undefined;

  constructor(
    private readonly surroundings: PartitionSurroundings,
    private readonly options: PartitionOptions,
    state: PartitionState,
    damage: MillraceError | undefined,
  ) {
    this.where = `${options.topic}-${options.partition}`;
    this.files = new PartitionFiles(surroundings, options, this, state);
    this.pending = new PendingAppends(surroundings.buffers, surroundings.budget, options.config);
    this.syncs = new SyncRequests(surroundings.clock, () => this.schedule());
    this.upkeep = new PartitionUpkeep(surroundings, options, this, new Compaction(surroundings, options, this));
    this.compacts = compacts(options.config);
    this.trouble = new PartitionTrouble(surroundings, this);
    this.nextOffset = state.synced.offset;
    this.refusal = damage;
    this.lastPublished = this.publish(state.synced);
  }

  get endOffset(): number {
    return this.nextOffset;
  }

  get highWatermark(): number {
    return this.lastPublished.offset;
  }

  get published(): LogPosition {
    return this.lastPublished;
  }

  get startOffset(): number {
    return this.files.startOffset;
  }

  get shared(): SharedArrayBuffer {
    return this.watermark.shared;
  }

  append(record: NewRecord, receipt: Receipt | undefined): number {
    this.checkTakes();
    if (this.compacts && record.key === null) throw keyMissing(this.where);
    const bound = BatchBuilder.boundOf(record);
    if (bound + BATCH_HEADER_BYTES > this.options.config.maxMessageBytes) checkRecordsFit([record], this.options.config, this.where);
    const offset = this.nextOffset;
    const batches = this.pending.batches();
    const bytes = batches.append(this.appendsTime ? this.stamped(record) : record, bound, offset);
    this.nextOffset = offset + 1;
    if (receipt !== undefined) batches.join(receipt);
    this.took(bytes);
    return offset;
  }

  /** The portable append: see PartitionedLog. */
  async appendAs(producer: ProducerIdentity, sequence: number, records: readonly NewRecord[]): Promise<void> {
    this.checkTakes();
    if (records.length === 0) return;
    checkIdentity(producer, sequence, records.length, this.where);
    const claim = { id: producerIdOf(producer.name), epoch: producer.epoch, called: `"${producer.name}"` };
    await this.producers.use((producers) => {
      if (producers.check(claim, sequence, records.length, this.where, 0) === "new") {
        checkRecordsFit(records, this.options.config, this.where);
        if (this.compacts) checkRecordKeys(records, this.where);
        const baseOffset = this.nextOffset;
        const stamped = this.appendsTime ? records.map((record) => this.stamped(record)) : records;
        const bytes = this.pending.batches().appendBatch(stamped, baseOffset, { ...claim, baseSequence: sequence });
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
    if (this.compacts) checkBatchKeys(batch, this.where);
    // whoever waits joins in the same turn: later the flush may be over, or have failed
    const durable = (appended: AppendedBatch): Promise<AppendedBatch> => this.pendingDurable().then(() => appended);
    if (claim === undefined) return durable(this.keep(batch, count));
    return this.producers.use((producers) => {
      const found = producers.check(claim, baseSequence, count, this.where, undefined);
      if (found !== "new") return durable({ baseOffset: found, logAppendTime: -1, duplicate: true });
      const kept = this.keep(batch, count);
      producers.applyBatch(batch, 0);
      return durable(kept);
    });
  }

  joinPending(receipt: Receipt): void {
    const { reason } = this.trouble;
    if (reason !== undefined) {
      receipt.join();
      receipt.leave(reason);
    } else this.pending.join(receipt);
  }

  async producerState(name: string): Promise<{ epoch: number; nextSequence: number } | undefined> {
    this.checkTakes();
    await this.pendingDurable();
    return this.producers.use((producers) => producers.standing(producerIdOf(name)));
  }

  /** Resolves when everything that was appended so far is on the disk, whatever the policy. */
  sync(): Promise<void> {
    const refusal = this.refusal ?? this.trouble.reason;
    return refusal !== undefined ? Promise.reject(refusal) : this.syncs.untilSynced(this.nextOffset);
  }

  /** See EmbeddedLog. */
  async deleteRecords(offset: number): Promise<number> {
    checkDeletes(this.options.config, this.where);
    const { highWatermark } = this;
    if (offset < 0 || offset > highWatermark) throw outOfRange(this.where, offset, this.startOffset, highWatermark);
    if (offset <= this.startOffset) return this.startOffset;
    await this.sync();
    return this.upkeepTurns.takeSoon(async () => {
      await this.upkeep.deleteBelow(offset);
      return this.startOffset;
    });
  }

  /** What is done in the background now and then. One call at a time. */
  async maintain(): Promise<void> {
    if (this.refusal !== undefined || this.trouble.reason !== undefined) return;
    if (!this.files.askUsed() && this.files.areOpen) this.releaseFiles();
    await this.upkeepTurns.take(async () => {
      if (!this.isLeaving) await this.upkeep.run();
    });
  }

  /** See CompactedPartition. */
  get isLeaving(): boolean {
    return this.refusal !== undefined || this.trouble.reason !== undefined || this.upkeepTurns.inAHurry;
  }

  /** See ReplacementListener. */
  replaced(): void {
    this.changed(2);
  }

  removing(): void {
    this.changed(1);
  }

  removed(): void {
    this.changed(1);
  }

  /** Durable before anyone is told. */
  async startFrom(offset: number): Promise<void> {
    await this.files.startFrom(offset);
    this.publish(this.lastPublished);
  }

  async roll(): Promise<boolean> {
    if (this.rollDue) return false;
    const { baseOffset } = this.lastPublished;
    this.rollDue = true;
    this.schedule();
    await this.running;
    return this.lastPublished.baseOffset !== baseOffset;
  }

  releaseFiles(): void {
    if (this.refusal !== undefined) return;
    this.restDue = true;
    this.schedule();
  }

  /** Appends are refused from the first moment on; what was taken is kept. */
  async close(): Promise<void> {
    const takesRecords = this.refusal === undefined && this.trouble.reason === undefined;
    const unsynced = takesRecords && (this.pending.gathered || this.busy || this.files.areOpen);
    const synced = unsynced ? this.sync() : Promise.resolve();
    this.refusal ??= closedError(this.where);
    this.trouble.end();
    try {
      await synced;
      await this.upkeepTurns.over();
      await this.running;
      if (takesRecords) await this.rest();
    } finally {
      this.syncs.cancelTimer();
      await this.files.drop();
    }
  }

  /** The topic is going: what is not durable yet fails, and readers are told. */
  async abandon(): Promise<void> {
    const deleted = deletedError(this.where);
    this.refusal = deleted;
    this.trouble.end();
    this.pending.failGathered(deleted);
    await this.upkeepTurns.over();
    await this.running;
    this.failWaiting(deleted);
    this.syncs.cancelTimer();
    this.watermark.markDeleted();
    await this.files.drop();
  }

  /** See TroubledPartition. */
  stop(failure: MillraceError, damaged: boolean): void {
    if (damaged) this.refusal ??= failure;
    this.producers.forget();
    this.syncs.cancelTimer();
  }

  /** See TroubledPartition. */
  goOnFrom(end: LogPosition): void {
    this.nextOffset = end.offset;
    this.lastPublished = this.publish(end);
  }

  /** See TroubledPartition. */
  giveUp(failure: MillraceError): void {
    const { offset } = this.files.end;
    this.nextOffset = offset;
    if (this.files.producers !== undefined) this.producers.follow(this.files.producers);
    this.options.onCut(offset);
    this.pending.fail(failure);
    this.failWaiting(failure);
  }

  private checkTakes(): void {
    const refusal = this.refusal ?? this.trouble.reason;
    if (refusal !== undefined) throw refusal;
  }

  /** Gives a producer's batch its place. */
  private keep(batch: Buffer, count: number): AppendedBatch {
    const baseOffset = this.nextOffset;
    const appendTime = this.appendsTime ? this.surroundings.clock.now() : undefined;
    stampBatch(batch, baseOffset, appendTime);
    const bytes = this.pending.batches().appendEncoded(batch);
    this.nextOffset += count;
    this.took(bytes);
    return { baseOffset, logAppendTime: appendTime ?? -1, duplicate: false };
  }

  private get appendsTime(): boolean {
    return this.options.config.timestampType === "LogAppendTime";
  }

  private stamped(record: NewRecord): NewRecord {
    return { ...record, timestamp: this.surroundings.clock.now() };
  }

  private changed(times: 1 | 2): void {
    this.files.changed(times);
    this.publish(this.lastPublished);
  }

  private pendingDurable(): Promise<void> {
    return new Promise((resolve, reject) => {
      const receipt = new Receipt((failure) => (failure === undefined ? resolve() : reject(failure)));
      this.joinPending(receipt);
      receipt.seal();
    });
  }

  private took(bytes: number): void {
    this.pending.took(bytes);
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
      await this.trouble.fail(error);
    }
    this.busy = false;
  }

  private nextStep(): (() => Promise<void>) | undefined {
    if (this.syncs.due(this.highWatermark)) return () => this.force();
    if (this.producers.awaited) return () => this.serveProducers();
    if (this.pending.gathered) return () => this.flush();
    if (this.rollDue) return () => this.beginSegment();
    if (this.restDue) return () => this.rest();
    return undefined;
  }

  private async flush(): Promise<void> {
    const batches = this.pending.launch();
    await this.openFiles();
    const pieces = batches.take();
    await this.surroundings.space.take(pieces.reduce((bytes, piece) => bytes + piece.length, 0));
    const { sync } = this.options.config;
    const end = await this.files.write(pieces, sync.kind === "always");
    if (sync.kind === "interval") this.syncs.within(sync.ms);
    this.lastPublished = this.publish(end);
    this.pending.landed();
  }

  private async force(): Promise<void> {
    const { highWatermark } = this;
    this.syncs.begun();
    await this.files.sync();
    this.syncs.reached(highWatermark);
  }

  private async serveProducers(): Promise<void> {
    await this.openFiles();
    this.producers.serve();
  }

  private async openFiles(): Promise<void> {
    const { producers } = await this.files.open();
    this.producers.follow(producers);
  }

  private async beginSegment(): Promise<void> {
    this.rollDue = false;
    this.lastPublished = this.publish(await this.files.roll());
  }

  /** Files and buffers are put away; the next append takes them out again. */
  private async rest(): Promise<void> {
    this.restDue = false;
    if (!this.files.areOpen) return;
    this.producers.forget(); // who comes meanwhile waits until they were read again
    await this.files.rest();
  }

  private publish(end: LogPosition): LogPosition {
    this.watermark.publish({
      highWatermark: end.offset,
      position: end.bytes,
      activeBaseOffset: end.baseOffset,
      startOffset: this.files.startOffset,
      generation: this.files.generation,
    });
    return end;
  }

  private failWaiting(failure: MillraceError): void {
    this.syncs.fail(failure);
    this.producers.refuseWaiting(failure);
  }
}
