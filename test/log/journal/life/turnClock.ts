import type { Clock, Timer } from "../../../../src/base/clock.ts";

/** Time passes with the turns of the loop; after `stop` it stands still. */
export class TurnClock implements Clock {
  private stopped = false;

  stop(): void {
    this.stopped = true;
  }

  now(): number {
    return 0;
  }

  monotonicMs(): number {
    return 0;
  }

  after(delayMs: number, then: () => void): Timer {
    let cancelled = false;
    const wait = (turns: number): void => {
      if (cancelled || this.stopped) return;
      if (turns === 0) then();
      else setImmediate(wait, turns - 1);
    };
    wait(Math.min(delayMs, 10));
    return {
      cancel() {
        cancelled = true;
      },
    };
  }
}

export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}
