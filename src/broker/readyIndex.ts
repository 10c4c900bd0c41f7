/**
 * The copies of a queue that wait for their first delivery, in order of their offsets: a backlog costs disk, not memory. Where each one is
 * takes 20 bytes in typed arrays (as objects about five times as much); of a run that the journal keeps only its ends are here,
 * until its turn is near.
 */
import { assert } from "../base/errors.ts";
import { lowerBound } from "../base/lowerBound.ts";
import { nextTurn } from "../base/nextTurn.ts";
import type { KeptCopy, KeptRun, OffsetRange, StoppedCopies } from "../log/contract/queueJournal.ts";
import type { Copy, KeptContent } from "./copy.ts";
import { heapEntriesMax, ReadyChunk } from "./readyChunk.ts";

const chunkEntriesFirst = heapEntriesMax; // an idle queue costs little
const chunkEntriesMax = 2048;
/** Places that are pinned in a turn of the loop: about 5 ms. Of a run so many bits are counted in the time of one. */
const recoveredPerTurnMax = 100_000;
const runCopiesPerPosition = 100;

/** What of a run is not in a chunk. Its ends may be gone already, so its offsets may be fewer than they say. */
export class RunPart {
  constructor(
    readonly run: KeptRun,
    readonly from: number,
    readonly to: number,
    readonly count: number,
  ) {}
}

/** A run stands for all of it: with thousands of queues in a segment most are short, and a part takes 90 bytes more. */
type Block = ReadyChunk | RunPart | KeptRun;

const partOf = (block: RunPart | KeptRun): RunPart =>
  block instanceof RunPart ? block : new RunPart(block, block.firstOffset, block.lastOffset, block.live);
const firstOffsetOf = (block: RunPart | KeptRun): number => (block instanceof RunPart ? block.from : block.firstOffset);
const countOf = (block: Block): number => (block instanceof RunPart ? block.count : block.live);
const lastOffsetOf = (block: Block): number => (block instanceof RunPart ? block.to : block.lastOffset);

export class ReadyIndex {
  private blocks: Block[] = [];
  private count = 0;
  private parts = 0;

  get length(): number {
    return this.count;
  }

  /** Offsets must increase. */
  push(offset: number, position: number, bytes: number, durable: boolean, content: KeptContent | undefined): void {
    let last = this.blocks.at(-1);
    if (!(last instanceof ReadyChunk) || last.isFull) {
      const capacity =
        last instanceof ReadyChunk ? Math.max(chunkEntriesFirst, Math.min(last.capacity * 4, chunkEntriesMax)) : chunkEntriesFirst;
      last = new ReadyChunk(capacity);
      this.append(last);
    }
    last.push(offset, position, bytes, durable, content);
    this.count++;
  }

  /** Behind all that is there: those from the offset on. */
  pushStopped(copies: StoppedCopies, from: number): void {
    const { length } = copies.offsets;
    let next = lowerBound(0, length, (n) => (copies.offsets[n] as number) >= from);
    this.count += length - next;
    for (let count = 0; next < length; next += count) {
      count = Math.min(length - next, chunkEntriesMax);
      const chunk = new ReadyChunk(Math.max(count, chunkEntriesFirst));
      chunk.fill(copies, next, next + count);
      this.append(chunk);
    }
  }

  /** Behind all that is there. */
  pushRun(run: KeptRun): void {
    const count = run.live;
    if (count === 0) return;
    this.append(run);
    this.parts++;
    this.count += count;
  }

  /** The first one's offset, or what is not after it; the index must not be empty. */
  firstOffset(): number {
    const head = this.blocks[0] as Block;
    return head instanceof ReadyChunk ? head.firstOffset() : firstOffsetOf(head);
  }

  /** Undefined: it must be fetched, or there is none. */
  first(): Copy | undefined {
    const head = this.blocks[0];
    return head instanceof ReadyChunk && head.live > 0 ? head.firstCopy() : undefined;
  }

  takeFirst(): Copy {
    const head = this.blocks[0];
    assert(head instanceof ReadyChunk, "what is taken was fetched");
    const copy = head.takeFirst();
    this.removed(head, 0);
    return copy;
  }

  /** Removes one wherever it stands, but in a run: recovery meets the acknowledgement after the message. */
  delete(offset: number): Copy | undefined {
    const index = this.indexOf(offset);
    const block = this.blocks[index];
    const copy = block instanceof ReadyChunk ? block.take(offset) : undefined;
    if (copy !== undefined) this.removed(block as ReadyChunk, index);
    return copy;
  }

  positionOf(offset: number): number | undefined {
    const block = this.blocks[this.indexOf(offset)];
    return block instanceof ReadyChunk ? block.positionOf(offset) : undefined;
  }

  /** False: it is not here. */
  move(offset: number, to: number): boolean {
    const block = this.blocks[this.indexOf(offset)];
    return block instanceof ReadyChunk && block.move(offset, to);
  }

  /** In order, those up to the first part of a run; the index must not change meanwhile. */
  *near(): Generator<Copy> {
    for (const block of this.blocks) {
      if (!(block instanceof ReadyChunk)) return;
      yield* block;
    }
  }

  /** In order, but those of runs. */
  *[Symbol.iterator](): Generator<Copy> {
    for (const block of this.blocks) if (block instanceof ReadyChunk) yield* block;
  }

  *runParts(): Generator<RunPart> {
    for (const block of this.blocks) if (!(block instanceof ReadyChunk)) yield partOf(block);
  }

  // ---- runs

  /** The first part of a run, if fewer than `most` copies stand before it. */
  nextPart(most: number): RunPart | undefined {
    if (this.parts === 0) return undefined;
    let before = 0;
    for (const [index, block] of this.blocks.entries()) {
      if (!(block instanceof ReadyChunk)) {
        const part = partOf(block);
        this.blocks[index] = part;
        return part;
      }
      before += block.live;
      if (before >= most) return undefined;
    }
    return undefined;
  }

  has(part: RunPart): boolean {
    return this.blocks.includes(part);
  }

  /** The first copies of a part that is here. @param all there are no more in it */
  fetched(part: RunPart, copies: readonly KeptCopy[], all: boolean, durable: boolean): void {
    const index = this.blocks.indexOf(part);
    const put: Block[] = [];
    let { count } = part;
    if (copies.length > 0) {
      const chunk = new ReadyChunk(copies.length);
      for (const { offset, position, contentBytes, persistent } of copies) {
        chunk.push(offset, position, contentBytes, durable && persistent, undefined);
      }
      put.push(chunk);
      count -= copies.length;
    }
    if (all) {
      this.count -= count; // what of the run was lost
      this.parts--;
    } else put.push(new RunPart(part.run, (copies.at(-1) as KeptCopy).offset + 1, part.to, count));
    this.blocks.splice(index, 1, ...put);
  }

  /** After the replay: what it said of the runs they know. @param pin is given the place of each copy that is in no run */
  async recovered(pin: (position: number) => void): Promise<void> {
    let count = 0;
    let done = 0;
    let gone = false;
    this.parts = 0;
    for (const block of this.blocks) {
      const live = countOf(block);
      if (block instanceof ReadyChunk) block.eachPosition(pin);
      else if (live > 0) this.parts++;
      else gone = true;
      count += live;
      done += block instanceof ReadyChunk ? live : live / runCopiesPerPosition;
      if (done < recoveredPerTurnMax) continue;
      done = 0;
      await nextTurn();
    }
    if (gone) this.blocks = this.blocks.filter((block) => block instanceof ReadyChunk || countOf(block) > 0);
    this.count = count;
  }

  /** All below this offset, in runs too: those know it. In the replay. */
  dropBelow(offset: number): void {
    for (let head = this.blocks[0]; head !== undefined; head = this.blocks[0]) {
      if (head instanceof ReadyChunk) {
        if (head.live === 0 || head.firstOffset() >= offset) return;
        this.takeFirst();
      } else {
        if (lastOffsetOf(head) >= offset) return;
        this.blocks.shift(); // what is left is counted when the replay is over
      }
    }
  }

  /**
   * The copies of a run whose content isn't in memory are its from now on, where at least `least` of them lie in a row, behind the first
   * `near` of all.
   */
  stretch(run: KeptRun, near: number, least: number): void {
    const from = Math.max(run.firstOffset, this.offsetBehind(near));
    for (let index = this.indexOf(from); index < this.blocks.length; index++) {
      const block = this.blocks[index] as Block;
      if (!(block instanceof ReadyChunk)) continue;
      if (block.live > 0 && block.firstOffset() > run.lastOffset) return;
      const begin = block.firstWithoutContent(from, run.lastOffset);
      if (begin !== undefined) this.stretchFrom(run, begin, index, least);
    }
  }

  /** Returns which offsets that is true of. */
  runMoved(run: KeptRun, replaced: readonly KeptRun[]): readonly OffsetRange[] {
    const ranges: OffsetRange[] = [];
    const blocks: Block[] = [];
    for (const block of this.blocks) {
      if (block instanceof ReadyChunk || !replaced.includes(block instanceof RunPart ? block.run : block)) {
        blocks.push(block);
        continue;
      }
      const { from, to, count } = partOf(block);
      ranges.push({ from, to });
      const last = blocks.at(-1);
      // neighbours become one
      const joined = last instanceof RunPart && last.run === run ? last : undefined;
      if (joined === undefined) blocks.push(new RunPart(run, from, to, count));
      else {
        blocks[blocks.length - 1] = new RunPart(run, joined.from, to, joined.count + count);
        this.parts--;
      }
    }
    this.blocks = blocks;
    return ranges;
  }

  /** From this offset on, in the chunk at `index`, and as far as no content is met. */
  private stretchFrom(run: KeptRun, from: number, index: number, least: number): void {
    const { lastOffset } = run;
    let count = 0;
    let end = index;
    for (; end < this.blocks.length; end++) {
      const block = this.blocks[end] as Block;
      if (!(block instanceof ReadyChunk) || block.live === 0 || block.firstOffset() > lastOffset) break;
      const begin = block.firstWithoutContent(from, lastOffset);
      if (begin === undefined || (end > index && begin !== block.firstOffset())) break;
      count += block.countWithin(begin, lastOffset);
    }
    if (count < least) return;
    const last = this.blocks[end - 1] as ReadyChunk;
    const to = Math.min(lastOffset, last.lastOffset);
    const behind = last.splitBehind(lastOffset);
    const head = this.blocks[index] as ReadyChunk;
    head.cutFrom(from);
    const put: Block[] = [new RunPart(run, from, to, count)];
    if (head.live > 0) put.unshift(head);
    if (behind !== undefined) put.push(behind);
    this.blocks.splice(index, end - index, ...put);
    this.parts++;
  }

  // ---- within

  /** Of the copy after the first `near` ones; Infinity: there are no more. */
  private offsetBehind(near: number): number {
    let before = 0;
    for (const block of this.blocks) {
      if (!(block instanceof ReadyChunk)) return firstOffsetOf(block);
      if (before + block.live <= near) {
        before += block.live;
        continue;
      }
      for (const { offset } of block) if (before++ >= near) return offset;
    }
    return Number.POSITIVE_INFINITY;
  }

  /** The block that the offset would be in. */
  private indexOf(offset: number): number {
    return lowerBound(0, this.blocks.length, (at) => {
      return lastOffsetOf(this.blocks[at] as Block) >= offset;
    });
  }

  /** The first one not by `push`, which makes room for 17. */
  private append(block: Block): void {
    if (this.blocks.length === 0) this.blocks = [block];
    else this.blocks.push(block);
  }

  private removed(chunk: ReadyChunk, index: number): void {
    this.count--;
    if (chunk.live > 0) return;
    // a queue that stays short stays in its one small chunk
    if (index === this.blocks.length - 1 && chunk.capacity === chunkEntriesFirst) chunk.reset();
    else this.blocks.splice(index, 1);
  }
}
