/** The message-ids that a queue, or a partition of a topic, took last: by count, or for a time. */

export type DedupeLimit = { readonly kind: "count"; readonly idsMax: number } | { readonly kind: "time"; readonly ms: number };

interface Remembered {
  readonly id: string;
  /** Where the original is kept; only its keeper knows what the number means. */
  position: number;
  readonly timestamp: number;
  /** The original outlives a restart. */
  readonly durable: boolean;
  /** It has left before its turn. */
  left: boolean;
}

/** Ids that leave at a time, at most: some 0.5 ms. */
const forgottenAtOnceMax = 1000;

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
    const remembered = this.byId.get(id);
    if (this.limit.kind === "count") return remembered?.position;
    this.expire(now - this.limit.ms);
    return remembered !== undefined && remembered.timestamp >= now - this.limit.ms ? remembered.position : undefined;
  }

  /** Where `find` has not found it. */
  remember(id: string, position: number, timestamp: number, durable = true): void {
    const tooOld = this.byId.get(id);
    if (tooOld !== undefined) this.leave(tooOld);
    const remembered = { id, position, timestamp, durable, left: false };
    this.byId.set(id, remembered);
    this.inOrder.push(remembered);
    const most = this.limit.kind === "count" ? Math.min(this.limit.idsMax, this.idsMax) : this.idsMax;
    if (this.size > most) this.forgetFirst();
  }

  /** The originals from `position` on are not kept after all; nobody is told of those. */
  forgetFrom(position: number): void {
    for (let last = this.inOrder.at(-1); this.size > 0 && last !== undefined && last.position >= position; last = this.inOrder.at(-1)) {
      this.inOrder.pop();
      if (!last.left) this.byId.delete(last.id);
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
    return this.inOrder
      .slice(this.first)
      .filter(({ left }) => !left)
      .map(({ position }) => position);
  }

  /** Those that a restart remembers too; but those whose originals were moved, which are found there. */
  durable(): { readonly dedupeId: string; readonly position: number; readonly timestamp: number }[] {
    return this.inOrder
      .slice(this.first)
      .filter(({ position, durable, left }) => durable && !left && position >= 0)
      .map(({ id, position, timestamp }) => ({ dedupeId: id, position, timestamp }));
  }

  /** Forgets all. @returns their positions: nobody else is told of them */
  takeAll(): number[] {
    const positions = this.positions();
    this.byId.clear();
    this.inOrder = [];
    this.first = 0;
    return positions;
  }

  /** Lets go some of what is too old; returns when there is more to do, undefined: never. */
  tidy(now: number): number | undefined {
    if (this.limit.kind === "count") return undefined;
    this.expire(now - this.limit.ms);
    return this.size === 0 ? undefined : (this.inOrder[this.first] as Remembered).timestamp + this.limit.ms + 1;
  }

  /** With those that are too old and have not left yet. */
  private get size(): number {
    return this.inOrder.length - this.first;
  }

  private expire(before: number): void {
    for (let n = 0; n < forgottenAtOnceMax && this.size > 0; n++) {
      if ((this.inOrder[this.first] as Remembered).timestamp >= before) break;
      this.forgetFirst();
    }
  }

  private forgetFirst(): void {
    const oldest = this.inOrder[this.first++] as Remembered;
    if (this.first > 1024 && this.first * 2 > this.inOrder.length) {
      this.inOrder = this.inOrder.slice(this.first);
      this.first = 0;
    }
    if (!oldest.left) this.leave(oldest);
  }

  private leave(remembered: Remembered): void {
    remembered.left = true;
    this.byId.delete(remembered.id);
    this.forgotten(remembered.position);
  }
}
