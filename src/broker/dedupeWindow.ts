/** The message-ids that a queue, or a partition of a topic, took last: by count, or for a time. */

export type DedupeLimit = { readonly kind: "count"; readonly idsMax: number } | { readonly kind: "time"; readonly ms: number };

interface Remembered {
  /** Where the original is kept; only its keeper knows what the number means. */
  readonly position: number;
  readonly timestamp: number;
}

export class DedupeWindow {
  /** In the order in which they came: the first one leaves first. */
  private readonly ids = new Map<string, Remembered>();

  /**
   * @param idsMax caps a window by time as well: past it the oldest id leaves early
   * @param forgotten called with the position of each id that leaves
   */
  constructor(
    private readonly limit: DedupeLimit,
    private readonly idsMax: number,
    private readonly forgotten: (position: number) => void,
  ) {}

  get size(): number {
    return this.ids.size;
  }

  /** The original's position; undefined: not in the window. */
  find(id: string, now: number): number | undefined {
    if (this.limit.kind === "time") this.expire(now - this.limit.ms);
    return this.ids.get(id)?.position;
  }

  remember(id: string, position: number, timestamp: number): void {
    this.ids.set(id, { position, timestamp });
    const most = this.limit.kind === "count" ? Math.min(this.limit.idsMax, this.idsMax) : this.idsMax;
    if (this.ids.size > most) this.forgetOldest();
  }

  positions(): number[] {
    return Array.from(this.ids.values(), (remembered) => remembered.position);
  }

  clear(): void {
    while (this.ids.size > 0) this.forgetOldest();
  }

  private expire(before: number): void {
    for (const remembered of this.ids.values()) {
      if (remembered.timestamp >= before) return;
      this.forgetOldest();
    }
  }

  private forgetOldest(): void {
    const [id, remembered] = this.ids.entries().next().value as [string, Remembered];
    this.ids.delete(id);
    this.forgotten(remembered.position);
  }
}
