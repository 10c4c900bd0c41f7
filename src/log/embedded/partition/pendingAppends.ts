import type { ByteBudget } from "../../../base/byteBudget.ts";
import type { MillraceError } from "../../../base/errors.ts";
import { BatchAttribute } from "../../../record/batchHeader.ts";
import type { Receipt } from "../../../record/receipt.ts";
import type { TopicConfig } from "../../contract/partitionedLog.ts";
import type { BatchBuffers, OpenBatches } from "./openBatches.ts";

/**
 * A flush takes no more, but for its last batch. So not everyone waits for the same flush, and those whom one has answered check what
 * they bring next while another is written: 8 lanes of 1 MiB batches took as long as the write and the check together.
 */
const flushBytesMax = 4 * 1024 * 1024;

/** What one flush will take. */
interface Gathered {
  readonly batches: OpenBatches;
  bytes: number;
}

/** What was appended to a partition and is not durable yet: what gathers, and what is on its way to the disk meanwhile. */
export class PendingAppends {
  /** The last one still grows. */
  private readonly open: Gathered[] = [];
  private inFlight: OpenBatches | undefined;
  private inFlightBytes = 0;

  constructor(
    private readonly buffers: BatchBuffers,
    private readonly budget: ByteBudget,
    private readonly config: TopicConfig,
  ) {}

  /** Is there something for the next flush? */
  get gathered(): boolean {
    return this.open.length > 0;
  }

  /** Where the next records go; say with `took` how many bytes they were. */
  batches(): OpenBatches {
    const last = this.open.at(-1);
    if (last !== undefined && last.bytes < flushBytesMax) return last.batches;
    const attributes = this.config.timestampType === "LogAppendTime" ? BatchAttribute.logAppendTime : 0;
    const batches = this.buffers.take(this.config.maxMessageBytes, attributes);
    this.open.push({ batches, bytes: 0 });
    return batches;
  }

  took(bytes: number): void {
    (this.open.at(-1) as Gathered).bytes += bytes;
    this.budget.take(bytes);
  }

  join(receipt: Receipt): void {
    (this.open.at(-1)?.batches ?? this.inFlight)?.join(receipt);
  }

  /** What gathered first is on its way from now on, until `landed` or `fail`. */
  launch(): OpenBatches {
    const { batches, bytes } = this.open.shift() as Gathered;
    this.inFlight = batches;
    this.inFlightBytes = bytes;
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
    for (const { batches, bytes } of this.open.splice(0)) {
      this.budget.release(bytes);
      batches.settle(failure);
    }
  }

  private settleInFlight(failure: MillraceError | undefined): void {
    const { inFlight, inFlightBytes } = this;
    this.inFlight = undefined;
    this.inFlightBytes = 0;
    this.budget.release(inFlightBytes);
    inFlight?.settle(failure);
  }
}
