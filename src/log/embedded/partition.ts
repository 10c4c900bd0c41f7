import type { ByteBudget } from "../../base/byteBudget.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import type { MillraceError } from "../../base/errors.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { Logger } from "../../base/logger.ts";
import { encodeBatch } from "../../record/batch.ts";
import { BatchBuilder } from "../../record/batchBuilder.ts";
import { BATCH_HEADER_BYTES } from "../../record/batchHeader.ts";
import { Receipt } from "../../record/receipt.ts";
import type { NewRecord } from "../../record/record.ts";
import type { ProducerIdentity, TopicConfig } from "../contract/partitionedLog.ts";
import { OpenBatches } from "./openBatches.ts";
import { checkIdentity, closedError, deletedError, failedError, tooLarge } from "./partitionErrors.ts";
import { type ProducerState, producerIdOf } from "./producerState.ts";
import type { Recovered } from "./recovery.ts";
import { SegmentWriter } from "./segmentWriter.ts";
import { WatermarkWriter } from "./watermark.ts";

export interface PartitionOptions {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly budget: ByteBudget;
  readonly folder: string;
  readonly topic: string;
  readonly partition: number;
  readonly config: TopicConfig;
}

interface SyncWaiter {
  /** Waits for everything below this offset. */
  readonly upTo: number;
  readonly settle: (failure: MillraceError | undefined) => void;
}

/**
 * The one writer of a partition. Records gather in `open` while the flush before is on its way: one write and one sync in flight,
 * whatever came meanwhile goes in the next. All work on the files happens in `run`, one step after the other.
 */
export class Partition {
  private readonly watermark = new WatermarkWriter();
  private readonly where: string;
  /** Of everything that was appended, written or not. */
  private readonly producers: ProducerState;
  private readonly startOffset: number;
  private readonly writer: SegmentWriter;
  private nextOffset: number;
  private published: { readonly offset: number; readonly baseOffset: number; readonly bytes: number };

  private open: OpenBatches;
  private spare: OpenBatches;
  private openBytes = 0;
  private inFlight: OpenBatches | undefined;
  private inFlightBytes = 0;

  /** From the moment that `run` is on its way to the moment that it has nothing left to do. */
  private busy = false;
  private running: Promise<void> = Promise.resolve();
  private syncWaiters: SyncWaiter[] = [];
  private syncTimer: Timer | undefined;
  private syncDue = false;
  /** Why nothing is taken any more: closed, deleted, damaged or failed. */
  private refusal: MillraceError | undefined;
  /** Of a write or a sync. */
  private failure: MillraceError | undefined;

  constructor(
    private readonly options: PartitionOptions,
    recovered: Recovered,
  ) {
    const { fileSystem, folder, config } = options;
    this.where = `${options.topic}-${options.partition}`;
    this.producers = recovered.producers;
    this.startOffset = recovered.startOffset;
    this.writer = new SegmentWriter(fileSystem, folder, config.segmentBytes, recovered.active, recovered.producers.copy());
    this.nextOffset = recovered.nextOffset;
    this.refusal = recovered.damage;
    this.open = new OpenBatches(config.maxMessageBytes);
    this.spare = new OpenBatches(config.maxMessageBytes);
    this.published = this.publish(recovered.nextOffset);
  }

  get endOffset(): number {
    return this.nextOffset;
  }

  get highWatermark(): number {
    return this.published.offset;
  }

  get shared(): SharedArrayBuffer {
    return this.watermark.shared;
  }

  append(record: NewRecord, receipt: Receipt | undefined): number {
    if (this.refusal !== undefined) throw this.refusal;
    const bound = BatchBuilder.boundOf(record);
    if (bound + BATCH_HEADER_BYTES > this.options.config.maxMessageBytes) this.checkSize([record]);
    const offset = this.nextOffset;
    const bytes = this.open.append(record, bound, offset);
    this.nextOffset = offset + 1;
    if (receipt !== undefined) this.open.join(receipt);
    this.took(bytes);
    return offset;
  }

  /** The portable append: see PartitionedLog. */
  async appendAs(producer: ProducerIdentity, sequence: number, records: readonly NewRecord[]): Promise<void> {
    if (this.refusal !== undefined) throw this.refusal;
    if (records.length === 0) return;
    checkIdentity(producer, sequence, records.length, this.where);
    const id = producerIdOf(producer.name);
    if (this.producers.check(producer, id, sequence, records.length, this.where) === "new") {
      this.checkSize(records);
      const bytes = this.open.appendBatch(records, this.nextOffset, { id, epoch: producer.epoch, baseSequence: sequence });
      this.nextOffset += records.length;
      this.producers.applied(id, producer.epoch, sequence, records.length);
      this.took(bytes);
    }
    await this.pendingDurable();
  }

  joinPending(receipt: Receipt): void {
    if (this.failure !== undefined) {
      // the original may be lost: whoever waits together with it must not be told that it is there
      receipt.join();
      receipt.leave(this.failure);
    } else if (!this.open.empty) this.open.join(receipt);
    else this.inFlight?.join(receipt);
  }

  async producerState(name: string): Promise<{ epoch: number; nextSequence: number } | undefined> {
    if (this.refusal !== undefined) throw this.refusal;
    await this.pendingDurable();
    return this.producers.standing(producerIdOf(name));
  }

  /** Resolves when everything that was appended so far is on the disk, whatever the policy. */
  sync(): Promise<void> {
    if (this.refusal !== undefined) return Promise.reject(this.refusal);
    return new Promise((resolve, reject) => {
      this.syncWaiters.push({ upTo: this.nextOffset, settle: (failure) => (failure === undefined ? resolve() : reject(failure)) });
      this.schedule();
    });
  }

  /** Appends are refused from the first moment on; what was taken is kept. */
  async close(): Promise<void> {
    const takesRecords = this.refusal === undefined;
    const synced = takesRecords ? this.sync() : Promise.resolve();
    this.refusal ??= closedError(this.where);
    try {
      await synced;
      await this.running;
      if (takesRecords) await this.writer.seal(this.nextOffset);
    } finally {
      this.syncTimer?.cancel();
      await this.writer.close();
    }
  }

  /** The topic is going: what is not durable yet fails, and readers are told. */
  async abandon(): Promise<void> {
    const deleted = deletedError(this.where);
    this.refusal = deleted;
    this.settleOpen(deleted);
    await this.running;
    this.settleSyncs(deleted);
    this.syncTimer?.cancel();
    this.watermark.markDeleted();
    await this.writer.close();
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
    this.options.budget.take(bytes);
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
      for (;;) {
        const waiter = this.syncWaiters[0];
        if (this.syncDue || (waiter !== undefined && waiter.upTo <= this.published.offset)) await this.force();
        else if (!this.open.empty) await this.flush();
        else break;
      }
    } catch (error) {
      await this.fail(error);
    }
    this.busy = false;
  }

  private async flush(): Promise<void> {
    const batches = this.open;
    const end = this.nextOffset;
    this.open = this.spare;
    this.inFlight = batches;
    this.inFlightBytes = this.openBytes;
    this.openBytes = 0;
    const taken = batches.take();
    await this.writer.write(taken.bytes, taken.batches);
    const { sync } = this.options.config;
    if (sync.kind === "always") await this.writer.sync();
    else if (sync.kind === "interval") this.syncIn(sync.ms);
    this.published = this.publish(end);
    this.spare = batches;
    this.settleInFlight(undefined);
  }

  private syncIn(ms: number): void {
    this.syncTimer ??= this.options.clock.after(ms, () => {
      this.syncTimer = undefined;
      this.syncDue = true;
      this.schedule();
    });
  }

  private async force(): Promise<void> {
    const { offset } = this.published;
    this.syncDue = false;
    await this.writer.sync();
    while (this.syncWaiters[0] !== undefined && this.syncWaiters[0].upTo <= offset) this.syncWaiters.shift()?.settle(undefined);
  }

  private publish(offset: number): { offset: number; baseOffset: number; bytes: number } {
    const { baseOffset, bytes } = this.writer;
    this.watermark.publish({ highWatermark: offset, position: bytes, activeBaseOffset: baseOffset, startOffset: this.startOffset });
    return { offset, baseOffset, bytes };
  }

  /** For good, until the next start: after a failed write or sync nobody knows what the disk holds. The other partitions go on. */
  private async fail(cause: unknown): Promise<void> {
    const failure = failedError(this.where, cause);
    this.refusal ??= failure;
    this.failure = failure;
    this.syncTimer?.cancel();
    this.options.logger.error("a partition failed and takes nothing any more", { partition: this.where, error: failure.toText() });
    await this.writer.cutBack(this.published.baseOffset, this.published.bytes);
    this.settleInFlight(failure);
    this.settleOpen(failure);
    this.settleSyncs(failure);
  }

  private settleSyncs(failure: MillraceError): void {
    for (const waiter of this.syncWaiters.splice(0)) waiter.settle(failure);
  }

  private settleInFlight(failure: MillraceError | undefined): void {
    const { inFlight, inFlightBytes } = this;
    this.inFlight = undefined;
    this.inFlightBytes = 0;
    this.options.budget.release(inFlightBytes);
    inFlight?.settle(failure);
  }

  private settleOpen(failure: MillraceError): void {
    const bytes = this.openBytes;
    this.openBytes = 0;
    this.options.budget.release(bytes);
    this.open.settle(failure);
  }
}
