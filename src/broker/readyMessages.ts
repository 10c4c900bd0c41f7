import { ContentCache, type ContentCacheLimits } from "./contentCache.ts";
import type { Copy, KeptContent } from "./copy.ts";
import { ReadyIndex } from "./readyIndex.ts";
import { RequeuedCopies } from "./requeuedCopies.ts";

/** What a queue has to deliver, in order of the offsets: what was never delivered, and what came back. */
export class ReadyMessages {
  private readonly index = new ReadyIndex();
  private readonly requeued = new RequeuedCopies();
  private readonly cache: ContentCache;

  constructor(limits: ContentCacheLimits) {
    this.cache = new ContentCache(limits);
  }

  get length(): number {
    return this.index.length + this.requeued.length;
  }

  hasRoomFor(contentBytes: number): boolean {
    return this.cache.hasRoom(contentBytes);
  }

  push(offset: number, position: number, bytes: number, durable: boolean, content: KeptContent | undefined): void {
    this.index.push(offset, position, bytes, durable, content);
    if (content !== undefined) this.cache.take(content);
  }

  requeue(copy: Copy): void {
    this.requeued.add(copy);
  }

  first(): Copy | undefined {
    return this.requeuedIsFirst() ? this.requeued.first() : this.index.first();
  }

  takeFirst(): Copy {
    if (this.requeuedIsFirst()) return this.requeued.takeFirst();
    const copy = this.index.takeFirst();
    this.cache.release(copy.content);
    return copy;
  }

  /** Wherever it stands among those that never came back. */
  delete(offset: number): Copy | undefined {
    const copy = this.index.delete(offset);
    this.cache.release(copy?.content);
    return copy;
  }

  positionOf(offset: number): number | undefined {
    return this.index.positionOf(offset) ?? this.requeued.positionOf(offset);
  }

  /** Where the copy is has changed. False: it is not here. */
  move(offset: number, to: number): boolean {
    return this.index.move(offset, to) || this.requeued.move(offset, to);
  }

  /** In order; nothing must change meanwhile. */
  *[Symbol.iterator](): Generator<Copy> {
    const again = this.requeued[Symbol.iterator]();
    let next = again.next();
    for (const copy of this.index) {
      for (; !next.done && next.value.offset < copy.offset; next = again.next()) yield next.value;
      yield copy;
    }
    for (; !next.done; next = again.next()) yield next.value;
  }

  /** Gives the memory of the contents back; what is left is only to be iterated. */
  forgetContents(): void {
    this.cache.clear();
  }

  private requeuedIsFirst(): boolean {
    if (this.requeued.length === 0) return false;
    return this.index.length === 0 || (this.requeued.first() as Copy).offset < this.index.firstOffset();
  }
}
