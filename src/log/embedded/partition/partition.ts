import type { MillraceError } from "../../../base/errors.ts";
import { BatchBuilder } from "../../../record/batchBuilder.ts";
import { BATCH_HEADER_BYTES } from "../../../record/batchHeader.ts";
import { Receipt } from "../../../record/receipt.ts";
import type { NewRecord } from "../../../record/record.ts";
import type { AbortedTransaction } from "../../contract/embeddedLog.ts";
import { type CompactedPartition, Compaction } from "../compaction/compaction.ts";
import { compacts, keyMissing } from "../compaction/recordKeys.ts";
import { AppendedProducers } from "../producers/appendedProducers.ts";
import { type AppendedPartition, ProducerAppends } from "../producers/producerAppends.ts";
import { whileFilesGo } from "../producers/producerLoad.ts";
import type { HandleOwner } from "../reading/openHandles.ts";
import { WatermarkReader, WatermarkWriter } from "../reading/watermark.ts";
import { AbortedLookup } from "../transactions/abortedLookup.ts";
import { checkRecordsFit } from "./batchSize.ts";
import type { OpenBatches } from "./openBatches.ts";
import { checkDeletes, closedError, deletedError, outOfRange } from "./partitionErrors.ts";
import { PartitionFiles } from "./partitionFiles.ts";
import type { PartitionState, ReadableEnd } from "./partitionState.ts";
import type { PartitionOptions, PartitionSurroundings } from "./partitionSurroundings.ts";
import { PartitionTrouble, type TroubledPartition } from "./partitionTrouble.ts";
import { type KeptPartition, PartitionUpkeep } from "./partitionUpkeep.ts";
import { PendingAppends } from "./pendingAppends.ts";
import { SyncRequests } from "./syncRequests.ts";
import { UpkeepTurns } from "./upkeepTurns.ts";
import { WriteAhead } from "./writeAhead.ts";

/**
 * Whoever waits for its files waits for so many steps more, if there are so many: a producer that was just read with them appends, and what
 * was appended is written and synced.
 */
const STEPS_BEFORE_REST = 3;

/**
 * The one writer of a partition. Records gather in `pending` while the flush before is on its way: one write and one sync in flight,
 * whatever came meanwhile goes in the next. All work on the files that are written happens in `run`, one step after the other. An idle
 * partition has neither files open nor buffers: `rest` has put them away.
 */
export class Partition implements AppendedPartition, CompactedPartition, HandleOwner, KeptPartition, TroubledPartition {
  readonly where: string;
  readonly files: PartitionFiles;
  readonly ahead: WriteAhead;
  /** What whole batches are appended with, and transactions ended. */
  readonly appends: ProducerAppends;
  private readonly watermark = new WatermarkWriter();
  private readonly pending: PendingAppends;
  private readonly producers = new AppendedProducers(() => this.schedule());
  private readonly syncs: SyncRequests;
  private readonly upkeep: PartitionUpkeep;
  private readonly trouble: PartitionTrouble;
  private readonly compacts: boolean;
  private nextOffset: number;
  private lastPublished: ReadableEnd;
  /** Made when somebody asks for the first time. */
  private aborted: AbortedLookup | undefined;

  /** From the moment that `run` is on its way to the moment that it has nothing left to do. */
  private busy = false;
  private running: Promise<void> = Promise.resolve();
  private rollDue = false;
  private expiryDue = false;
  private restDue = false;
  private stepsBeforeRest = 0;
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
    this.ahead = new WriteAhead(
      this.files,
      options.config,
      () => this.busy,
      () => this.schedule(),
    );
    this.syncs = new SyncRequests(surroundings.clock, () => this.schedule());
    this.appends = new ProducerAppends(this, this.producers, options.config, surroundings.clock);
    this.upkeep = new PartitionUpkeep(surroundings, options, this, new Compaction(surroundings, options, this));
    this.compacts = compacts(options.config);
    this.trouble = new PartitionTrouble(surroundings, this);
    this.nextOffset = state.synced.offset;
    this.refusal = damage;
    this.lastPublished = { ...state.synced, openFrom: state.openFrom };
    this.publish(this.lastPublished);
  }

  get endOffset(): number {
    return this.nextOffset;
  }

  get highWatermark(): number {
    return this.lastPublished.offset;
  }

  /** The first offset of the oldest open transaction, as far as it is kept; the high watermark without one. */
  get lastStableOffset(): number {
    const { offset, openFrom = offset } = this.lastPublished;
    return Math.min(offset, Math.max(openFrom, this.startOffset));
  }

  get published(): ReadableEnd {
    return this.lastPublished;
  }

  get startOffset(): number {
    return this.files.startOffset;
  }

  get folder(): string {
    return this.options.folder;
  }

  get shared(): SharedArrayBuffer {
    return this.watermark.shared;
  }

  append(record: NewRecord, receipt: Receipt | undefined): number {
    const bound = this.checkTakesRecord(record);
    const offset = this.nextOffset;
    const batches = this.pending.batches();
    const bytes = batches.append(this.appendsTime ? this.stamped(record) : record, bound, offset);
    this.nextOffset = offset + 1;
    if (receipt !== undefined) batches.join(receipt);
    this.took(bytes);
    return offset;
  }

  /** See AppendedPartition. */
  take(count: number, put: (batches: OpenBatches, baseOffset: number) => number): number {
    const baseOffset = this.nextOffset;
    const bytes = put(this.pending.batches(), baseOffset);
    this.nextOffset = baseOffset + count;
    this.took(bytes);
    return baseOffset;
  }

  /** Throws what `append` throws. @returns the most bytes that it takes */
  checkTakesRecord(record: NewRecord): number {
    this.checkTakes();
    if (this.compacts && record.key === null) throw keyMissing(this.where);
    const bound = BatchBuilder.boundOf(record);
    if (bound + BATCH_HEADER_BYTES > this.options.config.maxMessageBytes) checkRecordsFit([record], this.options.config, this.where);
    return bound;
  }

  /** Why nothing is taken, now or ever. */
  get refuses(): MillraceError | undefined {
    return this.refusal ?? this.trouble.reason;
  }

  checkTakes(): void {
    const { refuses } = this;
    if (refuses !== undefined) throw refuses;
  }

  /** With a full disk only appends are refused. */
  checkAnswers(): void {
    const { standstill } = this;
    if (standstill !== undefined) throw standstill;
  }

  durable(): Promise<void> {
    return new Promise((resolve, reject) => {
      const receipt = new Receipt((failure) => (failure === undefined ? resolve() : reject(failure)));
      this.joinPending(receipt);
      receipt.seal();
    });
  }

  joinPending(receipt: Receipt): void {
    const { standstill } = this.trouble;
    if (standstill !== undefined) {
      receipt.join();
      receipt.leave(standstill);
    } else this.pending.join(receipt);
  }

  /** Those whose batches are among the offsets: what is aborted is known up to the last stable offset. */
  abortedTransactions(fromOffset: number, toOffset: number): Promise<AbortedTransaction[]> {
    this.aborted ??= new AbortedLookup(this.surroundings.fileSystem, this.options.folder, () =>
      new WatermarkReader(this.shared).tellIndexDamage(),
    );
    const { aborted } = this;
    const find = () => whileFilesGo(() => aborted.between(fromOffset, toOffset, new WatermarkReader(this.shared).read()));
    return this.surroundings.handles.briefly(find);
  }

  /** Resolves when everything that was appended so far is on the disk, whatever the policy. */
  sync(): Promise<void> {
    const { standstill } = this;
    return standstill !== undefined ? Promise.reject(standstill) : this.syncs.untilSynced(this.nextOffset);
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

  /** The part of `maintain` that cannot wait for an index or a compaction, be it another partition's. */
  async makeRoom(): Promise<void> {
    if (this.standstill !== undefined) return;
    await this.upkeepTurns.take(async () => {
      if (!this.isLeaving) await this.upkeep.makeRoom();
    });
  }

  /** What is done in the background now and then. One call at a time. */
  async maintain(): Promise<void> {
    if (this.standstill !== undefined) return;
    if (!this.files.askUsed() && this.files.areOpen) this.releaseFiles();
    await this.upkeepTurns.take(async () => {
      if (!this.isLeaving) await this.upkeep.run();
    });
    this.expiryDue = this.files.areOpen;
    if (this.expiryDue) this.schedule();
  }

  /** See CompactedPartition. */
  get isLeaving(): boolean {
    return this.standstill !== undefined || this.upkeepTurns.inAHurry;
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

  takeIndexDamage(): boolean {
    return this.watermark.takeIndexDamage();
  }

  /** Also while it closes: who waits may be its own upkeep, which `close` waits for. */
  releaseFiles(): void {
    this.restDue = true;
    this.stepsBeforeRest = STEPS_BEFORE_REST;
    this.schedule();
  }

  /** Appends are refused from the first moment on; what was taken is kept. */
  async close(): Promise<void> {
    const works = this.standstill === undefined;
    const unsynced = works && (this.pending.gathered || this.busy || this.files.areOpen);
    const synced = unsynced ? this.sync() : Promise.resolve();
    this.refusal ??= closedError(this.where);
    this.trouble.end();
    try {
      await synced;
      await this.upkeepTurns.over();
      await this.running;
      if (works) await this.rest();
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
    this.failWaiting(deleted); // else who waits for the files would append behind what has just failed
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
  }

  /** See TroubledPartition. */
  goOnFrom(end: ReadableEnd): void {
    this.nextOffset = end.offset;
    this.publish(end);
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

  /** See TroubledPartition. */
  retrySoon(): void {
    this.schedule();
  }

  /** Why nothing is done to the files, now or ever. With a full disk only appends are refused: what makes room goes on. */
  private get standstill(): MillraceError | undefined {
    return this.refusal ?? this.trouble.standstill;
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

  /** Never rejects. Ends when there is nothing left to do, also of what was asked for while it dealt with a failure. */
  private async run(): Promise<void> {
    for (let step = this.nextStep(); step !== undefined; step = this.nextStep()) {
      try {
        await step();
      } catch (error) {
        await this.trouble.fail(error);
      }
    }
    this.busy = false;
  }

  private nextStep(): (() => Promise<void>) | undefined {
    if (this.trouble.retryIsDue) return () => this.trouble.retry();
    if (this.files.broken) return undefined;
    if (this.files.ahead?.left) return () => this.files.cutAhead();
    if (this.restDue && this.files.ahead === undefined && this.stepsBeforeRest-- <= 0) return () => this.rest();
    if (this.syncs.due(this.highWatermark)) return () => this.force();
    if (this.producers.awaited) return () => this.serveProducers();
    if (this.pending.gathered) return () => this.flush();
    if (this.rollDue) return () => this.beginSegment();
    if (this.expiryDue) return () => this.expireProducers();
    if (this.restDue) return () => this.rest();
    return undefined;
  }

  /**
   * With files open and room on the disk the write begins in the same microtask: whoever the flush before has answered checks the next batch
   * only then, while this one is being written.
   */
  private async flush(): Promise<void> {
    const batches = this.pending.launch();
    if (!this.usesOpenFiles()) await this.openFiles();
    const pieces = batches.take();
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const room = this.files.takeRoom(bytes);
    if (room !== undefined) await room;
    const { sync } = this.options.config;
    const end = await this.files.write(pieces, sync.kind === "always");
    if (sync.kind === "interval") this.syncs.within(sync.ms);
    this.publish(end);
    this.ahead.landed(batches.receiptCount);
    this.pending.landed();
    this.trouble.appended();
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
    await this.files.open();
    this.usesOpenFiles();
  }

  private usesOpenFiles(): boolean {
    const producers = this.files.useOpen();
    if (producers !== undefined) this.producers.follow(producers);
    return producers !== undefined;
  }

  private async beginSegment(): Promise<void> {
    this.rollDue = false;
    this.publish(await this.files.roll());
  }

  private async expireProducers(): Promise<void> {
    this.expiryDue = false;
    if (!this.files.expireProducers()) return;
    this.producers.forget(); // taken again, without them, by whoever comes next
    await this.files.checkpoint();
  }

  /** Files and buffers are put away; the next append takes them out again. */
  private async rest(): Promise<void> {
    this.restDue = false;
    if (!this.files.areOpen) return;
    this.producers.forget(); // who comes meanwhile waits until they were read again
    await this.files.rest();
  }

  private publish(end: ReadableEnd): void {
    this.lastPublished = end;
    this.watermark.publish({
      highWatermark: end.offset,
      position: end.bytes,
      activeBaseOffset: end.baseOffset,
      startOffset: this.files.startOffset,
      lastStableOffset: this.lastStableOffset,
      generation: this.files.generation,
    });
  }

  private failWaiting(failure: MillraceError): void {
    this.syncs.fail(failure);
    this.producers.refuseWaiting(failure);
  }
}
