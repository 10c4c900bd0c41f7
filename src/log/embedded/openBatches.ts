import type { MillraceError } from "../../base/errors.ts";
import { BatchBuilder, type BatchProducer } from "../../record/batchBuilder.ts";
import type { Receipt } from "../../record/receipt.ts";
import type { NewRecord } from "../../record/record.ts";

/** A batch is closed before it passes this size: large enough for the disk, small enough to be read in one piece. */
const BATCH_BYTES_GOOD = 1024 * 1024;

export interface ClosedBatch {
  readonly at: number;
  readonly end: number;
  readonly baseOffset: number;
  readonly records: number;
  readonly producer: BatchProducer | undefined;
}

/** What one flush will write: the batches that gather while the flush before it is on its way, and whose receipts wait for them. */
export class OpenBatches {
  private readonly builder = new BatchBuilder();
  private readonly receipts: Receipt[] = [];
  private lastReceipt: Receipt | undefined;
  private closed: ClosedBatch[] = [];
  private openBaseOffset = 0;
  private readonly batchBytesMax: number;

  constructor(maxMessageBytes: number) {
    this.batchBytesMax = Math.min(maxMessageBytes, BATCH_BYTES_GOOD);
  }

  get empty(): boolean {
    return this.builder.totalBytes === 0;
  }

  /** `bound` is the record's BatchBuilder.boundOf. Returns the bytes it took. */
  append(record: NewRecord, bound: number, offset: number): number {
    const { builder } = this;
    if (builder.count > 0 && builder.batchBytes + bound > this.batchBytesMax) this.closeBatch();
    if (builder.count === 0) this.openBaseOffset = offset;
    return builder.append(record, offset);
  }

  /** All records as one batch of their own. Returns the bytes it took. */
  appendBatch(records: readonly NewRecord[], offset: number, producer: BatchProducer): number {
    this.closeBatch();
    this.openBaseOffset = offset;
    let bytes = 0;
    records.forEach((record, i) => {
      bytes += this.builder.append(record, offset + i);
    });
    this.closeBatch(producer);
    return bytes;
  }

  /** Joined once a flush; a receipt that comes again in between other ones joins again, which does no harm. */
  join(receipt: Receipt): void {
    if (receipt === this.lastReceipt) return;
    this.lastReceipt = receipt;
    receipt.join();
    this.receipts.push(receipt);
  }

  /** Closes the last batch. */
  take(): { readonly bytes: Buffer; readonly batches: readonly ClosedBatch[] } {
    this.closeBatch();
    return { bytes: this.builder.bytes(), batches: this.closed };
  }

  /** The flush is over: everyone is told, and the memory is ready for the next one. */
  settle(failure: MillraceError | undefined): void {
    this.builder.reset();
    this.closed = [];
    this.lastReceipt = undefined;
    for (const receipt of this.receipts.splice(0)) receipt.leave(failure);
  }

  private closeBatch(producer?: BatchProducer): void {
    if (this.builder.count === 0) return;
    const records = this.builder.count;
    const at = this.builder.endBatch(producer);
    this.closed.push({ at, end: this.builder.totalBytes, baseOffset: this.openBaseOffset, records, producer });
  }
}
