import type { KeptRun, OffsetRange, StoppedCopies } from "../log/contract/queueJournal.ts";
import { ContentCache, type ContentCacheLimits } from "./contentCache.ts";
import type { Copy, KeptContent } from "./copy.ts";
import { ReadyIndex, type RunPart } from "./readyIndex.ts";
import { RequeuedCopies } from "./requeuedCopies.ts";

/** How much of a run comes into memory, and goes out of it: in copies. */
export interface RunLimits {
  /** First so many are fetched, and then twice as many each time. */
  readonly fetchedFirst: number;
  readonly fetchedMax: number;
  /** What goes out of memory are so many in a row, at least. */
  readonly stretchMin: number;
}

/** 20 bytes each: a queue whose consumer takes a little and stops holds a few KiB. */
export const runLimits: RunLimits = { fetchedFirst: 128, fetchedMax: 2048, stretchMin: 512 };

/** What a queue has to deliver, in order of the offsets: what was never delivered, and what came back. */
export class ReadyMessages {
  private readonly index = new ReadyIndex();
  private readonly requeued = new RequeuedCopies();
  private readonly cache: ContentCache;
  private fetching: Promise<void> | undefined;
  private fetchedNext: number;
  private given = false;

  /** @param durable a persistent copy is kept over a restart */
  constructor(
    limits: ContentCacheLimits,
    private readonly runs: RunLimits,
    private readonly durable: boolean,
  ) {
    this.cache = new ContentCache(limits);
    this.fetchedNext = runs.fetchedFirst;
  }

  get length(): number {
    return this.index.length + this.requeued.length;
  }

  hasRoomFor(contentBytes: number): boolean {
    return this.cache.hasRoom(contentBytes);
  }

  pushStopped(copies: StoppedCopies, from: number): void {
    this.index.pushStopped(copies, from);
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

  // ---- runs

  pushRun(run: KeptRun): void {
    this.index.pushRun(run);
  }

  /** After the replay, in which nothing came back. */
  recovered(pin: (position: number) => void): Promise<void> {
    return this.index.recovered(pin);
  }

  dropBelow(offset: number): void {
    this.index.dropBelow(offset);
  }

  stretch(run: KeptRun): void {
    this.index.stretch(run, this.fetchedNext, this.runs.stretchMin);
  }

  runMoved(run: KeptRun, replaced: readonly KeptRun[]): readonly OffsetRange[] {
    return this.index.runMoved(run, replaced);
  }

  *runParts(): Generator<RunPart> {
    yield* this.index.runParts();
  }

  /**
   * What comes next of a run, if there is little else before it. @returns settles when it is there, undefined: it need not be waited for
   */
  fetch(): Promise<void> | undefined {
    if (this.fetching !== undefined) return this.fetching;
    const part = this.index.nextPart(this.fetchedNext / 2);
    if (part === undefined) return undefined;
    const most = this.fetchedNext;
    this.fetching = this.fetchOf(part, most).finally(() => {
      this.fetching = undefined;
    });
    return this.fetching;
  }

  private async fetchOf(part: RunPart, most: number): Promise<void> {
    try {
      const copies = await part.run.load(part, most);
      // else it went away, or lies elsewhere by now
      if (this.given || !this.index.has(part)) return;
      this.index.fetched(part, copies, copies.length < most, this.durable);
      this.fetchedNext = Math.min(most * 2, this.runs.fetchedMax);
    } catch (error) {
      if (!this.given && this.index.has(part)) throw error;
    }
  }

  // ---- all

  /** In order, those that are near; nothing must change meanwhile. */
  *near(): Generator<Copy> {
    yield* this.merged(this.index.near());
  }

  /** In order, but those of runs; nothing must change meanwhile. */
  *[Symbol.iterator](): Generator<Copy> {
    yield* this.merged(this.index);
  }

  /** Gives the memory of the contents back; what is left is only to be iterated. */
  giveUp(): void {
    this.given = true;
    this.cache.clear();
  }

  private *merged(index: Iterable<Copy>): Generator<Copy> {
    const again = this.requeued[Symbol.iterator]();
    let next = again.next();
    for (const copy of index) {
      for (; !next.done && next.value.offset < copy.offset; next = again.next()) yield next.value;
      yield copy;
    }
    for (; !next.done; next = again.next()) yield next.value;
  }

  private requeuedIsFirst(): boolean {
    if (this.requeued.length === 0) return false;
    return this.index.length === 0 || (this.requeued.first() as Copy).offset < this.index.firstOffset();
  }
}
