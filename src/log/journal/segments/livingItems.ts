import { nextTurn } from "../../../base/nextTurn.ts";
import { Slice } from "./slice.ts";

const firstRoom = 256;

/** What lives in a file of the journal: copies and ids as they come, 21 bytes each, and then in the order of a segment's index. */
export class LivingItems {
  count = 0;
  private queues = new Uint32Array(firstRoom);
  private offsets = new Float64Array(firstRoom);
  private places = new Uint32Array(firstRoom);
  private sizes = new Uint32Array(firstRoom);
  /** 1: transient, 2: an id. */
  private flags = new Uint8Array(firstRoom);
  /** Items by queue, copies and ids apart. */
  private readonly counts = new Map<number, number>();

  /** Of one queue the offsets must not decrease. @param at where its entry is */
  add(queue: number, offset: number, at: number, bytes: number, transient: boolean, isId: boolean): void {
    const n = this.count++;
    if (n === this.queues.length) this.grow();
    this.queues[n] = queue;
    this.offsets[n] = offset;
    this.places[n] = at;
    this.sizes[n] = bytes;
    this.flags[n] = (transient ? 1 : 0) + (isId ? 2 : 0);
    const group = groupOf(queue, isId);
    this.counts.set(group, (this.counts.get(group) ?? 0) + 1);
  }

  queue(n: number): number {
    return this.queues[n] as number;
  }

  offset(n: number): number {
    return this.offsets[n] as number;
  }

  at(n: number): number {
    return this.places[n] as number;
  }

  bytes(n: number): number {
    return this.sizes[n] as number;
  }

  isTransient(n: number): boolean {
    return ((this.flags[n] as number) & 1) !== 0;
  }

  isId(n: number): boolean {
    return ((this.flags[n] as number) & 2) !== 0;
  }

  /** By queue, of a queue first the copies and then the ids, those as they came. */
  async inOrder(): Promise<Uint32Array> {
    const next = new Map<number, number>();
    let begin = 0;
    for (const group of [...this.counts.keys()].sort((a, b) => a - b)) {
      next.set(group, begin);
      begin += this.counts.get(group) as number;
    }
    const order = new Uint32Array(this.count);
    const slice = new Slice();
    for (let n = 0; n < this.count; n++) {
      const group = groupOf(this.queue(n), this.isId(n));
      const place = next.get(group) as number;
      order[place] = n;
      next.set(group, place + 1);
      if (slice.isOver(1 / 8)) await nextTurn();
    }
    return order;
  }

  private grow(): void {
    const grown = <T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    const room = this.queues.length * 2;
    this.queues = grown(this.queues, new Uint32Array(room));
    this.offsets = grown(this.offsets, new Float64Array(room));
    this.places = grown(this.places, new Uint32Array(room));
    this.sizes = grown(this.sizes, new Uint32Array(room));
    this.flags = grown(this.flags, new Uint8Array(room));
  }
}

const groupOf = (queue: number, isId: boolean): number => queue * 2 + (isId ? 1 : 0);
