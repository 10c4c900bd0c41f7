import { assert } from "../base/errors.ts";
import { lowerBound } from "../base/lowerBound.ts";
import type { StoppedCopies } from "../log/contract/queueJournal.ts";
import type { Copy, KeptContent } from "./copy.ts";

const gone = -1;
const positionBytes = 8;
const entryBytes = 20;
/** Arrays of up to 64 bytes lie on the heap: making them takes a third of the time. */
export const heapEntriesMax = 8;

/** Some of a queue's ready copies, in order of their offsets, 20 bytes each. Content that is still in memory hangs beside them. */
export class ReadyChunk {
  live = 0;
  private readonly offsets: Float64Array;
  private readonly positions: Float64Array;
  /** Bytes of the content times two, plus one if the copy is durable. */
  private readonly sizes: Uint32Array;
  private contents: (KeptContent | undefined)[] | undefined;
  private begin = 0;
  private end = 0;

  constructor(readonly capacity: number) {
    // larger ones share their memory: each piece of it costs more than what is put there
    const memory = capacity > heapEntriesMax ? new ArrayBuffer(capacity * entryBytes) : undefined;
    this.offsets = memory === undefined ? new Float64Array(capacity) : new Float64Array(memory, 0, capacity);
    this.positions = memory === undefined ? new Float64Array(capacity) : new Float64Array(memory, capacity * positionBytes, capacity);
    this.sizes = memory === undefined ? new Uint32Array(capacity) : new Uint32Array(memory, 2 * capacity * positionBytes, capacity);
  }

  get isFull(): boolean {
    return this.end === this.capacity;
  }

  /** Of all that are in it, dead ones too. Of none it is past all others: such a chunk is the last. */
  get lastOffset(): number {
    return this.end === 0 ? Number.POSITIVE_INFINITY : (this.offsets[this.end - 1] as number);
  }

  push(offset: number, position: number, bytes: number, durable: boolean, content: KeptContent | undefined): void {
    const at = this.end++;
    assert(at === 0 || offset > (this.offsets[at - 1] as number), "offsets of ready messages increase");
    this.offsets[at] = offset;
    this.positions[at] = position;
    this.sizes[at] = bytes * 2 + (durable ? 1 : 0);
    if (content !== undefined) (this.contents ??= [])[at] = content;
    this.live++;
  }

  /** Those from the one to the other, all of them durable; there must be room. */
  fill({ offsets, positions, bytes }: StoppedCopies, from: number, to: number): void {
    for (let n = from; n < to; n++) {
      const at = this.end++;
      this.offsets[at] = offsets[n] as number;
      this.positions[at] = positions[n] as number;
      this.sizes[at] = (bytes[n] as number) * 2 + 1;
    }
    this.live += to - from;
  }

  /** There must be one. */
  firstOffset(): number {
    return this.offsets[this.first()] as number;
  }

  firstCopy(): Copy {
    return this.copyAt(this.first());
  }

  takeFirst(): Copy {
    const at = this.first();
    const copy = this.copyAt(at);
    this.remove(at);
    return copy;
  }

  take(offset: number): Copy | undefined {
    const at = this.find(offset);
    if (at === -1) return undefined;
    const copy = this.copyAt(at);
    this.remove(at);
    return copy;
  }

  positionOf(offset: number): number | undefined {
    const at = this.find(offset);
    return at === -1 ? undefined : this.positions[at];
  }

  move(offset: number, to: number): boolean {
    const at = this.find(offset);
    if (at !== -1) this.positions[at] = to;
    return at !== -1;
  }

  *[Symbol.iterator](): Generator<Copy> {
    for (let at = this.begin; at < this.end; at++) if (this.positions[at] !== gone) yield this.copyAt(at);
  }

  /** Of those that live: a tenth of what it takes to look at each as a copy. */
  eachPosition(visit: (position: number) => void): void {
    for (let at = this.begin; at < this.end; at++) if (this.positions[at] !== gone) visit(this.positions[at] as number);
  }

  /** The first offset within the range from which on no content is in memory; undefined: there is none. */
  firstWithoutContent(from: number, to: number): number | undefined {
    let at = Math.max(this.begin, this.placeOf(from));
    const end = this.placeOf(to + 1);
    const { contents } = this;
    for (let n = Math.min(contents?.length ?? 0, end) - 1; n >= at; n--) {
      if (contents?.[n] === undefined) continue;
      at = n + 1;
      break;
    }
    while (at < end && this.positions[at] === gone) at++;
    return at < end ? this.offsets[at] : undefined;
  }

  /** Copies from the one to the other offset. */
  countWithin(from: number, to: number): number {
    const begin = Math.max(this.begin, this.placeOf(from));
    const end = this.placeOf(to + 1);
    if (begin === this.begin && end === this.end) return this.live;
    let count = 0;
    for (let at = begin; at < end; at++) if (this.positions[at] !== gone) count++;
    return count;
  }

  /** What lies behind `to`, in a chunk of its own. */
  splitBehind(to: number): ReadyChunk | undefined {
    const at = Math.max(this.begin, this.placeOf(to + 1));
    if (at >= this.end) return undefined;
    const rest = new ReadyChunk(this.end - at);
    for (let n = at; n < this.end; n++) {
      if (this.positions[n] === gone) continue;
      const size = this.sizes[n] as number;
      rest.push(this.offsets[n] as number, this.positions[n] as number, size >>> 1, (size & 1) === 1, this.contents?.[n]);
    }
    this.live -= rest.live;
    this.end = at;
    return rest.live === 0 ? undefined : rest;
  }

  /** Forgets all from this offset on. */
  cutFrom(from: number): void {
    const at = Math.max(this.begin, this.placeOf(from));
    for (let n = at; n < this.end; n++) if (this.positions[n] !== gone) this.live--;
    this.end = at;
  }

  /** A chunk in which nothing lives, again as it was made. */
  reset(): void {
    this.begin = this.end = 0;
  }

  private first(): number {
    assert(this.live > 0, "there is a ready message");
    while (this.positions[this.begin] === gone) this.begin++;
    return this.begin;
  }

  /** Of the first one from this offset on. */
  private placeOf(offset: number): number {
    return lowerBound(0, this.end, (at) => (this.offsets[at] as number) >= offset);
  }

  private find(offset: number): number {
    const at = this.placeOf(offset);
    return at >= this.begin && at < this.end && this.offsets[at] === offset && this.positions[at] !== gone ? at : -1;
  }

  private remove(at: number): void {
    this.positions[at] = gone;
    if (this.contents !== undefined) this.contents[at] = undefined;
    if (at === this.begin) this.begin++;
    this.live--;
  }

  private copyAt(at: number): Copy {
    const size = this.sizes[at] as number;
    return {
      offset: this.offsets[at] as number,
      position: this.positions[at] as number,
      bytes: size >>> 1,
      durable: (size & 1) === 1,
      redelivered: false,
      content: this.contents?.[at],
    };
  }
}
