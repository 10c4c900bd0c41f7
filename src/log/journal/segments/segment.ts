import { assert } from "../../../base/errors.ts";
import { clearBits, countBits, hasBit, nextBit, setBits } from "./bits.ts";
import type { SegmentDirectory } from "./segmentDirectory.ts";
import type { SegmentHeader, SegmentName } from "./segmentFormat.ts";

/** Items of a segment have positions of their own: negative, so that they are before everything that the journal holds. */
const itemsMax = 2 ** 28;

export const serialOf = (position: number): number => Math.floor((-2 - position) / itemsMax);
export const ordinalOf = (position: number): number => (-2 - position) % itemsMax;

/** A segment file and which of its items live. */
export class Segment {
  /** A bit an item. */
  readonly alive: Uint8Array;
  aliveCount = 0;
  /** So many are gone according to its `dead` file. */
  savedDeadCount = 0;
  /** A damaged entry was met: it is not rewritten. */
  damaged = false;
  /** It is filled: before that what is not alive in it may be alive elsewhere. */
  settled = false;
  /** Nobody looks into it any more. */
  retired = false;

  constructor(
    /** In this process; with the item's number it makes the position. */
    readonly serial: number,
    readonly name: SegmentName,
    readonly path: string,
    readonly header: SegmentHeader,
    readonly directory: SegmentDirectory,
    readonly fileBytes: number,
    /** Of version 1, where they lie between the copies: a bit an item. */
    private readonly ids: Uint8Array | undefined,
  ) {
    assert(header.items <= itemsMax, "a segment's items can be numbered");
    this.alive = new Uint8Array(Math.ceil(header.items / 8));
  }

  get deadPath(): string {
    return `${this.path}.dead`;
  }

  get items(): number {
    return this.header.items;
  }

  get deadCount(): number {
    return this.items - this.aliveCount;
  }

  /** What the living items take, taking all for equally large. */
  get aliveBytesAbout(): number {
    return this.items === 0 ? 0 : (this.header.indexAt * this.aliveCount) / this.items;
  }

  positionOf(ordinal: number): number {
    return -2 - (this.serial * itemsMax + ordinal);
  }

  isAlive(ordinal: number): boolean {
    return hasBit(this.alive, ordinal);
  }

  revive(ordinal: number): void {
    if (this.isAlive(ordinal)) assert(false, `item ${ordinal} of ${this.path} is pinned once`);
    (this.alive[ordinal >>> 3] as number) |= 1 << (ordinal & 7);
    this.aliveCount++;
  }

  end(ordinal: number): void {
    if (!this.isAlive(ordinal)) assert(false, `item ${ordinal} of ${this.path} is released once`);
    (this.alive[ordinal >>> 3] as number) &= ~(1 << (ordinal & 7));
    this.aliveCount--;
  }

  // ---- ranges of copies, without the ids that may lie between them; `to` does not belong to it

  countCopies(from: number, to: number): number {
    const ids = this.ids === undefined ? 0 : this.countAliveIds(from, to);
    return countBits(this.alive, from, to) - ids;
  }

  /** All that are not in `except`. */
  reviveCopies(from: number, to: number, except: Uint8Array | undefined): void {
    this.aliveCount -= countBits(this.alive, from, to);
    setBits(this.alive, from, to, except);
    this.aliveCount += countBits(this.alive, from, to);
  }

  endCopies(from: number, to: number): void {
    this.aliveCount -= countBits(this.alive, from, to);
    clearBits(this.alive, from, to, this.ids);
    this.aliveCount += countBits(this.alive, from, to);
  }

  /** The first that lives, or `to`. */
  nextCopy(from: number, to: number): number {
    return nextBit(this.alive, from, to, this.ids);
  }

  private countAliveIds(from: number, to: number): number {
    let count = 0;
    for (let at = from; at < to; at++) if (hasBit(this.alive, at) && hasBit(this.ids as Uint8Array, at)) count++;
    return count;
  }
}
