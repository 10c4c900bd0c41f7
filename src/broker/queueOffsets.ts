/** The offsets that a queue has given, and up to where its copies were ever delivered. */
export class QueueOffsets {
  /** One past the last offset that was given. */
  next = 0;
  private delivered = 0;
  /** What was recovered and may have been delivered before the restart. */
  private redeliveredBelow = 0;

  /** One past the last offset that was ever delivered; after a crash nobody knows, so all that was there counts. */
  get deliveredBelow(): number {
    return this.delivered;
  }

  isRedelivered(offset: number): boolean {
    return offset < this.redeliveredBelow;
  }

  deliver(offset: number): void {
    if (offset >= this.delivered) this.delivered = offset + 1;
  }

  /** In replay: all below was given. */
  atLeast(next: number): void {
    if (next > this.next) this.next = next;
  }

  /** @param deliveredBelow what a clean stop wrote down; undefined after a crash. */
  recovered(deliveredBelow = Number.POSITIVE_INFINITY): void {
    this.redeliveredBelow = this.delivered = Math.min(deliveredBelow, this.next);
  }
}
