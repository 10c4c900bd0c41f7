import type { Clock } from "../base/clock.ts";

const firstMs = 100;
const longestMs = 5000;

/** Between tries of what failed: none before the first, then longer and longer ones until something has worked. */
export class RetryPause {
  private nextMs = 0;
  private ended = false;
  private end: () => void = () => undefined;

  constructor(private readonly clock: Clock) {}

  async pause(): Promise<void> {
    const ms = this.nextMs;
    this.nextMs = Math.min(Math.max(firstMs, ms * 2), longestMs);
    if (ms === 0 || this.ended) return;
    await new Promise<void>((resolve) => {
      const timer = this.clock.after(ms, resolve);
      this.end = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  reset(): void {
    this.nextMs = 0;
  }

  /** The one under way, and all that come. */
  endNow(): void {
    this.ended = true;
    this.end();
  }
}
