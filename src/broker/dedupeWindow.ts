/** The message-ids that a queue, or a partition of a topic, took last: by count, or for a time. */

export type DedupeLimit = { readonly kind: "count"; readonly idsMax: number } | { readonly kind: "time"; readonly ms: number };

interface Remembered {
  readonly id: string;
  /** Where the original is kept; only its keeper knows what the number means. */
  position: number;
  readonly timestamp: number;
}

export class DedupeWindow {
  private readonly byId = new Map<string, Remembered>();
  /**
   * In the order in which they came, from `first` on. A Map keeps that order too, but finding its first entry after many were
   * deleted walks over the holes: 55 us a message with 100,000 ids, instead of 1.
   */
  private inOrder: Remembered[] = [];
  private first = 0;

  /**
   * @param idsMax caps a window by time as well: past it the oldest id leaves early
   * @param forgotten called with the position of each id that leaves
   */
  constructor(
    private readonly limit: DedupeLimit,
    private readonly idsMax: number,
    private readonly forgotten: (position: number) => void,
  ) {}

  /** The original's position; undefined: not in the window. */
  find(id: string, now: number): number | undefined {
    if (this.limit.kind === "time") this.expire(now - this.limit.ms);
    return this.byId.get(id)?.position;
  }

  /** The id must not be there already. */
  remember(id: string, position: number, timestamp: number): void {
    const remembered = { id, position, timestamp };
    this.byId.set(id, remembered);
    this.inOrder.push(remembered);
    const most = this.limit.kind === "count" ? Math.min(this.limit.idsMax, this.idsMax) : this.idsMax;
    if (this.byId.size > most) this.forgetFirst();
  }

  /** The originals from `position` on are not kept after all; nobody is told of those. */
  forgetFrom(position: number): void {
    for (
      let last = this.inOrder.at(-1);
      this.byId.size > 0 && last !== undefined && last.position >= position;
      last = this.inOrder.at(-1)
    ) {
      this.inOrder.pop();
      this.byId.delete(last.id);
    }
  }

  /** Without a look at the time: where the original of a remembered id is. */
  positionOf(id: string): number | undefined {
    return this.byId.get(id)?.position;
  }

  /** The original was moved. False: it is not remembered, or another is. */
  move(id: string, from: number, to: number): boolean {
    const remembered = this.byId.get(id);
    if (remembered?.position !== from) return false;
    remembered.position = to;
    return true;
  }

  positions(): number[] {
    return this.inOrder.slice(this.first).map((remembered) => remembered.position);
  }

  clear(): void {
    while (this.byId.size > 0) this.forgetFirst();
  }

  /** Lets go what is too old; returns when the next id will be, undefined: none ever. */
  tidy(now: number): number | undefined {
    if (this.limit.kind === "count") return undefined;
    this.expire(now - this.limit.ms);
    return this.byId.size === 0 ? undefined : (this.inOrder[this.first] as Remembered).timestamp + this.limit.ms + 1;
  }

  private expire(before: number): void {
    while (this.byId.size > 0 && (this.inOrder[this.first] as Remembered).timestamp < before) this.forgetFirst();
  }

  private forgetFirst(): void {
    const { id, position } = this.inOrder[this.first++] as Remembered;
    this.byId.delete(id);
    if (this.first > 1024 && this.first * 2 > this.inOrder.length) {
      this.inOrder = this.inOrder.slice(this.first);
      this.first = 0;
    }
    this.forgotten(position);
  }
}
