import type { Clock, Timer } from "../../../base/clock.ts";
import type { MillraceError } from "../../../base/errors.ts";

interface SyncWaiter {
  /** Waits for everything below this offset. */
  readonly upTo: number;
  readonly settle: (failure: MillraceError | undefined) => void;
}

/** Who wants a partition synced beyond what its policy does at once: those who wait for it, and the interval. */
export class SyncRequests {
  private waiters: SyncWaiter[] = [];
  private timer: Timer | undefined;
  private timeIsUp = false;

  /** @param wanted called when there is a request. */
  constructor(
    private readonly clock: Clock,
    private readonly wanted: () => void,
  ) {}

  /** @param written what is below is written. */
  due(written: number): boolean {
    const first = this.waiters[0];
    return this.timeIsUp || (first !== undefined && first.upTo <= written);
  }

  untilSynced(upTo: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiters.push({ upTo, settle: (failure) => (failure === undefined ? resolve() : reject(failure)) });
      this.wanted();
    });
  }

  /** At the latest after so long. */
  within(ms: number): void {
    this.timer ??= this.clock.after(ms, () => {
      this.timer = undefined;
      this.timeIsUp = true;
      this.wanted();
    });
  }

  begun(): void {
    this.timeIsUp = false;
  }

  /** Everything below `offset` is synced. */
  reached(offset: number): void {
    while (this.waiters[0] !== undefined && this.waiters[0].upTo <= offset) this.waiters.shift()?.settle(undefined);
  }

  /** Those who wait. What is written and not synced still has to be when its time is up. */
  fail(failure: MillraceError): void {
    for (const waiter of this.waiters.splice(0)) waiter.settle(failure);
  }

  cancelTimer(): void {
    this.timer?.cancel();
    this.timer = undefined;
  }
}
