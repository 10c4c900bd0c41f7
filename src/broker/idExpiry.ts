import type { Clock, Timer } from "../base/clock.ts";
import type { DedupeWindow } from "./dedupeWindow.ts";

/** How often a window by time is looked at, where nothing is published: its ids keep files of the journal. */
const leastMs = 1000;
const mostMs = 3_600_000;
/** So many may leave at once that it takes several turns. */
const nextSliceMs = 5;

/** Has ids leave their window by time, though nothing is published. */
export class IdExpiry {
  private timer: Timer | undefined;

  constructor(
    private readonly window: DedupeWindow,
    private readonly clock: Clock,
  ) {}

  /** There may be ids: looks now, and again when the next one leaves. */
  start(now: number): void {
    if (this.timer === undefined) this.look(now);
  }

  stop(): void {
    this.timer?.cancel();
  }

  private look(now: number): void {
    const nextAt = this.window.tidy(now);
    this.timer =
      nextAt === undefined
        ? undefined
        : this.clock.after(nextAt <= now ? nextSliceMs : Math.min(Math.max(nextAt - now, leastMs), mostMs), () => {
            this.look(this.clock.now());
          });
  }
}
