import type { ByteBudget } from "../../../base/byteBudget.ts";
import type { MillraceError } from "../../../base/errors.ts";
import { BatchAttribute } from "../../../record/batchHeader.ts";
import type { Receipt } from "../../../record/receipt.ts";
import type { TopicConfig } from "../../contract/partitionedLog.ts";
import type { BatchBuffers, OpenBatches } from "./openBatches.ts";

/** What was appended to a partition and is not durable yet: what gathers, and what is on its way to the disk meanwhile. */
export class PendingAppends {
  private open: OpenBatches | undefined;
  private openBytes = 0;
  private inFlight: OpenBatches | undefined;
  private inFlightBytes = 0;

  constructor(
    private readonly buffers: BatchBuffers,
    private readonly budget: ByteBudget,
    private readonly config: TopicConfig,
  ) {}

  /** Is there something for the next flush? */
  get gathered(): boolean {
    return this.open !== undefined;
  }

  /** Where the next records go; say with `took` how many bytes they were. */
  batches(): OpenBatches {
    const attributes = this.config.timestampType === "LogAppendTime" ? BatchAttribute.logAppendTime : 0;
    this.open ??= this.buffers.take(this.config.maxMessageBytes, attributes);
    return this.open;
  }

  took(bytes: number): void {
    this.openBytes += bytes;
    this.budget.take(bytes);
  }

  join(receipt: Receipt): void {
    if (this.open !== undefined) this.open.join(receipt);
    else this.inFlight?.join(receipt);
  }

  /** Everything that gathered is on its way from now on, until `landed` or `fail`. */
  launch(): OpenBatches {
    const batches = this.batches();
    this.open = undefined;
    this.inFlight = batches;
    this.inFlightBytes = this.openBytes;
    this.openBytes = 0;
    return batches;
  }

  landed(): void {
    const { inFlight } = this;
    this.settleInFlight(undefined);
    if (inFlight !== undefined) this.buffers.giveBack(inFlight);
  }

  fail(failure: MillraceError): void {
    this.settleInFlight(failure);
    this.failGathered(failure);
  }

  failGathered(failure: MillraceError): void {
    const { open, openBytes } = this;
    this.open = undefined;
    this.openBytes = 0;
    this.budget.release(openBytes);
    open?.settle(failure);
  }

  private settleInFlight(failure: MillraceError | undefined): void {
    const { inFlight, inFlightBytes } = this;
    this.inFlight = undefined;
    this.inFlightBytes = 0;
    this.budget.release(inFlightBytes);
    inFlight?.settle(failure);
  }
}
