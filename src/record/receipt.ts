import type { MillraceError } from "../base/errors.ts";

/**
 * What a publisher holds for everything that it published in one turn of the loop: settled when every destination has it
 * durable under its own policy. One a turn and channel, not one a message: that is what keeps confirms cheap.
 * The publisher makes it, passes it to each publish, and calls `seal` at the end of the turn. A writer that took
 * something for it calls `join` once a flush, and `leave` when that flush is durable or has failed.
 */
export class Receipt {
  private waitingFor = 1; // the publisher, until seal()
  private failure: MillraceError | undefined;

  /** @param settled called exactly once; with the first failure, if any flush failed (the outcome is then indeterminate). */
  constructor(private readonly settled: (failure: MillraceError | undefined) => void) {}

  join(): void {
    this.waitingFor++;
  }

  leave(failure?: MillraceError): void {
    this.failure ??= failure;
    if (--this.waitingFor === 0) this.settled(this.failure);
  }

  seal(): void {
    this.leave();
  }
}
