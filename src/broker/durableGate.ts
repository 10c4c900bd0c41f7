import type { Clock } from "../base/clock.ts";
import type { JournalPosition, QueueJournal } from "../log/contract/queueJournal.ts";
import { Receipt } from "../record/receipt.ts";
import type { Copy } from "./copy.ts";

/** After a failed write of the journal: when to look again whether the next message is on the disk. */
const retryMs = 500;
const nothing = (): void => undefined;

/**
 * With dedupe a persistent message is delivered only when it is durable. Before that a crash could take it back; published again it
 * would come as a new one, and the consumer would have it twice without a mark.
 */
export class DurableGate {
  /** A persistent message from here on may not be on the disk yet. */
  private durableBelow = 0;
  private lastPosition: JournalPosition = -1;
  private waits = false;

  constructor(
    private readonly journal: () => QueueJournal,
    private readonly clock: Clock,
    /** Deliveries can go on. */
    private readonly opened: () => void,
  ) {}

  /** All below this offset was read from the disk. */
  recovered(nextOffset: number): void {
    this.durableBelow = nextOffset;
  }

  /** The newest persistent message is here. */
  came(position: JournalPosition): void {
    this.lastPosition = position;
  }

  /** True: it is not to be delivered yet; `opened` is called when it is. */
  holds(copy: Copy, nextOffset: number): boolean {
    if (!this.concerns(copy)) return false;
    if (this.waits) return true;
    this.waits = true;
    const goOn = (): void => {
      this.waits = false;
      this.opened();
    };
    const then = (): void => {
      this.durableBelow = nextOffset;
      goOn();
    };
    // the journal keeps what it could not write, and tries again by itself
    this.isDurable(this.lastPosition, then, () => void this.clock.after(retryMs, goOn));
    return this.concerns(copy);
  }

  /** Now? Nobody waits for it. */
  lets(copy: Copy): boolean {
    return !this.concerns(copy) || this.isDurable(copy.position, nothing, nothing);
  }

  private concerns(copy: Copy): boolean {
    return copy.durable && copy.offset >= this.durableBelow;
  }

  /** `then`: once it is, at once if it is already. `otherwise`: a write of the journal failed. */
  private isDurable(position: JournalPosition, then: () => void, otherwise: () => void): boolean {
    let durable = false;
    const receipt = new Receipt((failure) => {
      if (failure !== undefined) return otherwise();
      durable = true;
      then();
    });
    this.journal().joinPending(position, receipt);
    receipt.seal();
    return durable;
  }
}
