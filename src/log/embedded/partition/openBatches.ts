import type { MillraceError } from "../../../base/errors.ts";
import { BatchBuilder, type BatchProducer } from "../../../record/batchBuilder.ts";
import type { Receipt } from "../../../record/receipt.ts";
import type { NewRecord } from "../../../record/record.ts";

/** A batch is closed before it passes this size: large enough for the disk, small enough to be read in one piece. */
const BATCH_BYTES_GOOD = 1024 * 1024;

/** A foreign batch of less is copied to the others, so that they go in one write; a larger one costs less as a write of its own. */
export const COPIED_BYTES_MAX = 64 * 1024;

/** What one flush will write: the batches that gather while the flush before it is on its way, and whose receipts wait for them. */
export class OpenBatches {
  private readonly builder = new BatchBuilder();
  private readonly receipts: Receipt[] = [];
  private lastReceipt: Receipt | undefined;
  private batchBytesMax = BATCH_BYTES_GOOD;
  private attributes = 0;
  /** Large batches that were encoded elsewhere, each with where it goes among the builder's bytes. */
  private large: { readonly at: number; readonly bytes: Buffer }[] = [];

  /** @param attributes of every batch that is made of records. */
  prepare(maxMessageBytes: number, attributes: number): void {
    this.batchBytesMax = Math.min(maxMessageBytes, BATCH_BYTES_GOOD);
    this.attributes = attributes;
  }

  /** `bound` is the record's BatchBuilder.boundOf. Returns the bytes it took. */
  append(record: NewRecord, bound: number, offset: number): number {
    const { builder } = this;
    if (builder.count > 0 && builder.batchBytes + bound > this.batchBytesMax) this.closeBatch();
    return builder.append(record, offset);
  }

  /** All records as one batch of their own. Returns the bytes it took. */
  appendBatch(records: readonly NewRecord[], offset: number, producer: BatchProducer): number {
    this.closeBatch();
    let bytes = 0;
    records.forEach((record, i) => {
      bytes += this.builder.append(record, offset + i);
    });
    this.closeBatch(producer);
    return bytes;
  }

  /** A batch that has its offsets already; its memory is the log's until the flush is over. */
  appendEncoded(batch: Buffer): number {
    this.closeBatch();
    if (batch.length < COPIED_BYTES_MAX) this.builder.appendEncoded(batch);
    else this.large.push({ at: this.builder.totalBytes, bytes: batch });
    return batch.length;
  }

  /** One that is being written already, from where it lies. */
  appendWritten(batch: Buffer): number {
    this.closeBatch();
    this.large.push({ at: this.builder.totalBytes, bytes: batch });
    return batch.length;
  }

  /** Joined once a flush; a receipt that comes again in between other ones joins again, which does no harm. */
  join(receipt: Receipt): void {
    if (receipt === this.lastReceipt) return;
    this.lastReceipt = receipt;
    receipt.join();
    this.receipts.push(receipt);
  }

  /** How many wait for it. */
  get receiptCount(): number {
    return this.receipts.length;
  }

  /** Closes the last batch. All of them, back to back, in as few pieces as need not be copied. */
  take(): Buffer[] {
    this.closeBatch();
    const bytes = this.builder.bytes();
    const pieces: Buffer[] = [];
    let from = 0;
    for (const { at, bytes: large } of this.large) {
      if (at > from) pieces.push(bytes.subarray(from, at));
      pieces.push(large);
      from = at;
    }
    if (from < bytes.length) pieces.push(bytes.subarray(from));
    return pieces;
  }

  /** The flush is over: everyone is told, and the memory is ready for the next one. */
  settle(failure: MillraceError | undefined): void {
    this.builder.reset();
    this.large = [];
    this.lastReceipt = undefined;
    for (const receipt of this.receipts.splice(0)) receipt.leave(failure);
  }

  private closeBatch(producer?: BatchProducer): void {
    if (this.builder.count > 0) this.builder.endBatch(producer, this.attributes);
  }
}

/** A partition that is idle has no buffers of its own; so many wait here for whoever needs them next. */
const SPARE_MAX = 64;

export class BatchBuffers {
  private readonly spare: OpenBatches[] = [];

  take(maxMessageBytes: number, attributes: number): OpenBatches {
    const batches = this.spare.pop() ?? new OpenBatches();
    batches.prepare(maxMessageBytes, attributes);
    return batches;
  }

  /** It must be empty. */
  giveBack(batches: OpenBatches): void {
    if (this.spare.length < SPARE_MAX) this.spare.push(batches);
  }
}
