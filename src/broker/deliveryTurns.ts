/**
 * Who delivers in this turn of the loop. Queues take turns too: each delivers a slice, and what all of them together deliver
 * before the loop goes on is limited, so that a long backlog delays nobody's publish.
 */
export interface Deliverer {
  /** Delivers up to `most`; returns how many it did. It asks for another turn itself if it could go on. */
  pump(most: number): number;
}

const deliveriesPerTurnMax = 1024;
const deliveriesPerSliceMax = 128;

export class DeliveryTurns {
  private readonly waiting = new Set<Deliverer>();
  private scheduled = false;
  private stopped = false;

  ask(deliverer: Deliverer): void {
    if (this.stopped) return;
    this.waiting.add(deliverer);
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => this.turn());
  }

  /** No delivery any more. */
  stop(): void {
    this.stopped = true;
    this.waiting.clear();
  }

  private turn(): void {
    this.scheduled = false;
    let left = deliveriesPerTurnMax;
    for (const deliverer of this.waiting) {
      if (left <= 0) break;
      this.waiting.delete(deliverer);
      left -= deliverer.pump(Math.min(deliveriesPerSliceMax, left)) + 1; // a turn that delivers nothing is not free either
    }
    const [next] = this.waiting;
    if (next !== undefined) this.ask(next);
  }
}
