import type { Clock } from "../../../base/clock.ts";
import { MillraceError } from "../../../base/errors.ts";
import { nextTurn } from "../../../base/nextTurn.ts";

/** Work in the background holds the event loop for about this long, then lets everyone else have a turn. */
const SLICE_MS = 3;
/** How long it sleeps at a time when it is faster than it may be: it notices within this time that it shall stop. */
const SLEEP_MS = 20;

/** Cuts long work into slices, and holds it to a rate of bytes read and written. */
export class Slices {
  private beganMs: number;
  private rateSinceMs: number;
  private rateBytes = 0;

  /** @param isStopped asked in each pause; the work then ends with WORK_STOPPED. */
  constructor(
    private readonly clock: Clock,
    private readonly bytesPerSecondMax: number,
    private readonly isStopped: () => boolean,
  ) {
    this.beganMs = clock.monotonicMs();
    this.rateSinceMs = this.beganMs;
  }

  get over(): boolean {
    return this.clock.monotonicMs() - this.beganMs >= SLICE_MS;
  }

  async pause(): Promise<void> {
    await nextTurn();
    this.checkStopped();
    this.beganMs = this.clock.monotonicMs();
  }

  /** Work that gives way wherever it can be paused. */
  async through<T>(work: Generator<undefined, T>): Promise<T> {
    for (let turn = work.next(); ; turn = work.next()) {
      if (turn.done === true) return turn.value;
      if (this.over) await this.pause();
    }
  }

  /** So many bytes were read or written: waits for as long as that was too fast. */
  async moved(bytes: number): Promise<void> {
    this.rateBytes += bytes;
    this.checkStopped();
    while (this.rateBytes > this.allowedBytes()) {
      await new Promise<void>((resolve) => void this.clock.after(SLEEP_MS, resolve));
      this.checkStopped();
    }
  }

  checkStopped(): void {
    if (this.isStopped()) throw new MillraceError(WORK_STOPPED, "Work in the background was asked to stop.", { domain: "internal" });
  }

  /** A second's worth at most is saved up. */
  private allowedBytes(): number {
    const now = this.clock.monotonicMs();
    const earned = ((now - this.rateSinceMs) * this.bytesPerSecondMax) / 1000;
    if (earned > this.rateBytes + this.bytesPerSecondMax) {
      this.rateSinceMs = now - 1000;
      this.rateBytes = 0;
    }
    return Math.max(earned, this.bytesPerSecondMax / 10);
  }
}

const WORK_STOPPED = "WORK_STOPPED";

export const isStop = (error: unknown): boolean => error instanceof MillraceError && error.code === WORK_STOPPED;
