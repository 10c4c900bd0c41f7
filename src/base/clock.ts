/** Time is passed in, so that a whole node can run under a simulated clock. */
export interface Clock {
  /** Wall clock, milliseconds since 1970 UTC. */
  now(): number;
  /** Never goes back; milliseconds from an arbitrary start. */
  monotonicMs(): number;
  /** Calls `then` once after `delayMs`, unless cancelled. Does not keep the process alive. */
  after(delayMs: number, then: () => void): Timer;
}

export interface Timer {
  cancel(): void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, then) {
    const timer = setTimeout(then, delayMs);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};
