import type { QueueHandle } from "../../broker/contract.ts";

/** Who got a delivery: a consumer, or a basic.get. */
export interface Holder {
  readonly queue: QueueHandle;
  /** One delivery less that it holds. */
  settled(): void;
}

const capacityMin = 64;
const capacityMax = 65_536;

/**
 * Delivery tag -> who holds it, and its offset. Tags grow by one, so a ring indexed by the tag does it without an object a
 * delivery (a Map costs 0.2 us more each). A few old tags that outlive many newer ones would stretch the ring: they move to a map.
 */
export class Unacked {
  private holders: (Holder | undefined)[] = Array.from({ length: capacityMin });
  private offsets = new Float64Array(capacityMin);
  /** No outstanding tag of the ring is below. */
  private head = 1;
  private end = 1;
  private inRing = 0;
  private readonly stragglers = new Map<number, { readonly holder: Holder; readonly offset: number }>();

  get count(): number {
    return this.inRing + this.stragglers.size;
  }

  /** Tags come in ascending order. */
  add(tag: number, holder: Holder, offset: number): void {
    while (this.inRing > 0 && tag - this.head >= this.holders.length) this.makeRoom();
    if (this.inRing === 0) this.head = tag;
    const slot = tag & (this.holders.length - 1);
    this.holders[slot] = holder;
    this.offsets[slot] = offset;
    this.end = tag + 1;
    this.inRing++;
  }

  /** Settles one: tells its holder, and gives it to `settle`. False if the tag is not outstanding. */
  take(tag: number, settle: (holder: Holder, offset: number) => void): boolean {
    if (tag >= this.head && tag < this.end) return this.takeSlot(tag, settle);
    const straggler = this.stragglers.get(tag);
    if (straggler === undefined) return false;
    this.stragglers.delete(tag);
    straggler.holder.settled();
    settle(straggler.holder, straggler.offset);
    return true;
  }

  /** All up to `tag`, in order; false if there was none. */
  takeThrough(tag: number, settle: (holder: Holder, offset: number) => void): boolean {
    const before = this.count;
    for (const old of this.stragglers.keys()) {
      if (old > tag) break;
      this.take(old, settle);
    }
    const last = Math.min(tag, this.end - 1);
    for (let at = this.head; at <= last; at++) this.takeSlot(at, settle);
    return this.count < before;
  }

  private takeSlot(tag: number, settle: (holder: Holder, offset: number) => void): boolean {
    const mask = this.holders.length - 1;
    const slot = tag & mask;
    const holder = this.holders[slot];
    if (holder === undefined) return false;
    this.holders[slot] = undefined;
    this.inRing--;
    if (this.inRing === 0) this.head = this.end;
    else while (this.holders[this.head & mask] === undefined) this.head++;
    holder.settled();
    settle(holder, this.offsets[slot] as number);
    return true;
  }

  private makeRoom(): void {
    const { length } = this.holders;
    if (this.inRing * 2 >= length && length < capacityMax) return this.grow();
    const slot = this.head & (length - 1);
    const holder = this.holders[slot] as Holder; // the head is outstanding: `takeSlot` and `add` see to it
    this.stragglers.set(this.head, { holder, offset: this.offsets[slot] as number });
    this.holders[slot] = undefined;
    this.inRing--;
    if (this.inRing === 0) this.head = this.end;
    else while (this.holders[this.head & (length - 1)] === undefined) this.head++;
  }

  private grow(): void {
    const { holders, offsets } = this;
    const length = holders.length * 2;
    this.holders = Array.from({ length: length });
    this.offsets = new Float64Array(length);
    for (let tag = this.head; tag < this.end; tag++) {
      const from = tag & (holders.length - 1);
      const to = tag & (length - 1);
      this.holders[to] = holders[from];
      this.offsets[to] = offsets[from] as number;
    }
  }
}
