import type { Clock, Timer } from "../base/clock.ts";
import type { Queue } from "./queue.ts";

const everyMs = 30_000;
/** Small enough for one turn: about a millisecond. */
const idsPerTurnMax = 4096;

/** Message-ids of a window by time leave it also when nobody publishes: what they hold on the disk and in memory is given back. */
export class DedupePruner {
  private timer: Timer | undefined;
  private stopped = false;

  constructor(
    private readonly queues: ReadonlyMap<number, Queue>,
    private readonly clock: Clock,
  ) {
    this.wait();
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  private wait(): void {
    this.timer = this.clock.after(everyMs, () => void this.prune());
  }

  private async prune(): Promise<void> {
    let left = idsPerTurnMax;
    for (const { dedupe } of this.queues.values()) {
      if (dedupe === undefined) continue;
      for (;;) {
        if (this.stopped) return;
        const forgotten = dedupe.prune(this.clock.now(), left);
        left -= forgotten + 1;
        if (left > 0) break;
        left = idsPerTurnMax;
        await new Promise<void>((resume) => setImmediate(resume));
      }
    }
    this.wait();
  }
}
