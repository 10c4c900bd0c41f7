import type { Clock, Timer } from "../../src/base/clock.ts";

interface Waiting {
  readonly atMs: number;
  readonly due: () => void;
}

/** Time passes when it is told to. What a timer does comes in the order of the times, and of the calls where these are equal. */
export class SimulatedClock implements Clock {
  private timers: Waiting[] = [];
  private stopped = false;

  constructor(private nowMs: number) {}

  now(): number {
    return this.nowMs;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  after(delayMs: number, then: () => void): Timer {
    const waiting = { atMs: this.nowMs + Math.max(0, delayMs), due: then };
    if (!this.stopped) this.timers.push(waiting);
    return {
      cancel: () => {
        this.timers = this.timers.filter((other) => other !== waiting);
      },
    };
  }

  advance(ms: number): void {
    const until = this.nowMs + ms;
    for (let next = this.nextUntil(until); next !== undefined; next = this.nextUntil(until)) {
      this.nowMs = Math.max(this.nowMs, next.atMs);
      this.timers.splice(this.timers.indexOf(next), 1);
      next.due();
    }
    this.nowMs = until;
  }

  /** The process that used it is dead. The returned one goes on from the same time. */
  next(): SimulatedClock {
    this.stopped = true;
    this.timers = [];
    return new SimulatedClock(this.nowMs);
  }

  private nextUntil(until: number): Waiting | undefined {
    let next: Waiting | undefined;
    for (const timer of this.timers) if (timer.atMs <= until && (next === undefined || timer.atMs < next.atMs)) next = timer;
    return next;
  }
}
