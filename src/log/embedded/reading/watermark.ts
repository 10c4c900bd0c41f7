/**
 * What the writer of a partition tells its readers in other threads, in 56 bytes of shared memory (int32 words):
 *
 *   0 sequence: odd while the writer is writing; a reader takes only what it read between two equal even values
 *   1 state: see WatermarkState
 *   2-3 high watermark   4-5 file position of it   6-7 base offset of the segment it lies in   8-9 first offset kept
 *   10 generation: another number says that files were cut or replaced, and what a reader has open or remembers is old; an odd one, that
 *      they are going at this moment
 *   11 1: a reader met a damaged index; the one word that readers write   12-13 last stable offset
 *
 * The pairs are high word, low word. Every access is atomic (sequentially consistent), so the sequence alone decides.
 * Sleepers wait on word 0.
 */
import type { Isolation } from "../../contract/partitionedLog.ts";
import { waitAsync } from "./waitAsync.ts";

const WATERMARK_BYTES = 56;

const WatermarkState = { open: 0, deleted: 1 } as const;

export interface Watermark {
  /** One past the last offset that may be read. */
  highWatermark: number;
  /** Up to where the file of the segment that is being written may be read. */
  position: number;
  /** The segment that is being written. */
  activeBaseOffset: number;
  startOffset: number;
  generation: number;
  /** Below it every transaction is ended. */
  lastStableOffset: number;
}

const TWO_32 = 4294967296;

/** For the one thread that writes the partition. */
export class WatermarkWriter {
  readonly shared = new SharedArrayBuffer(WATERMARK_BYTES);
  private readonly words = new Int32Array(this.shared);

  publish(watermark: Watermark): void {
    const { words } = this;
    Atomics.add(words, 0, 1);
    this.store(2, watermark.highWatermark);
    this.store(4, watermark.position);
    this.store(6, watermark.activeBaseOffset);
    this.store(8, watermark.startOffset);
    Atomics.store(words, 10, watermark.generation);
    this.store(12, watermark.lastStableOffset);
    Atomics.add(words, 0, 1);
    Atomics.notify(words, 0);
  }

  /** Did a reader meet a damaged index since this was asked last? */
  takeIndexDamage(): boolean {
    return Atomics.exchange(this.words, 11, 0) === 1;
  }

  /** Wakes those who sleep for the last time. */
  markDeleted(): void {
    Atomics.store(this.words, 1, WatermarkState.deleted);
    Atomics.add(this.words, 0, 2);
    Atomics.notify(this.words, 0);
  }

  private store(word: number, value: number): void {
    Atomics.store(this.words, word, Math.floor(value / TWO_32));
    Atomics.store(this.words, word + 1, value | 0);
  }
}

export class WatermarkReader {
  private readonly words: Int32Array;
  private sleeping: Promise<void> | undefined;

  /** @param isolation `read_committed`: nothing from the last stable offset on may be read, as if the high watermark were there. */
  constructor(
    shared: SharedArrayBuffer,
    private readonly isolation: Isolation = "read_uncommitted",
  ) {
    this.words = new Int32Array(shared);
  }

  get deleted(): boolean {
    return Atomics.load(this.words, 1) === WatermarkState.deleted;
  }

  /** The partition's upkeep looks for it, says it and makes the index again. */
  tellIndexDamage(): void {
    Atomics.store(this.words, 11, 1);
  }

  read(): Watermark {
    const { words } = this;
    for (;;) {
      const sequence = Atomics.load(words, 0);
      const written = this.load(2);
      const position = this.load(4);
      const activeBaseOffset = this.load(6);
      const startOffset = this.load(8);
      const generation = Atomics.load(words, 10);
      const lastStableOffset = this.load(12);
      // the writer is in its few stores for less than a microsecond: trying again is cheaper than any sleep
      if ((sequence & 1) === 0 && Atomics.load(words, 0) === sequence) {
        const highWatermark = this.isolation === "read_committed" ? lastStableOffset : written;
        return { highWatermark, position, activeBaseOffset, startOffset, generation, lastStableOffset };
      }
    }
  }

  /**
   * Resolves after the next change. Whoever sleeps first looks at `read` again after this call: what changed before
   * it wakes nobody. One wait in the engine for all sleepers of this reader, because it can't be cancelled.
   */
  changed(): Promise<void> {
    this.sleeping ??= waitAsync(this.words, 0, Atomics.load(this.words, 0)).then(() => {
      this.sleeping = undefined;
    });
    return this.sleeping;
  }

  private load(word: number): number {
    return Atomics.load(this.words, word) * TWO_32 + (Atomics.load(this.words, word + 1) >>> 0);
  }
}
