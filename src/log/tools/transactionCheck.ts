import path from "node:path";
import { baseOffsetAt, producerIdAt } from "../../record/batchHeader.ts";
import { isControlAt, isTransactionalAt, markerAt } from "../../record/controlBatch.ts";
import type { AbortedEntry, LoadedAborted } from "../embedded/transactions/abortedIndex.ts";

/**
 * Follows the batches of a partition from its first one on, and compares the segments' indexes of aborted transactions with them. What
 * retention or compaction took of a transaction is not missed: an entry may begin earlier than the first batch that is left.
 */
export class TransactionCheck {
  /** Open transactions, by producer, with their first offsets; in their order. */
  private readonly open = new Map<bigint, number>();
  /** Where each producer's transaction before ended. */
  private readonly lastEnds = new Map<bigint, number>();
  private entries = new Map<number, AbortedEntry>();
  private damaged: string | undefined;
  private missing: string | undefined;
  private wrong: string | undefined;

  enterSegment({ file, entries, damage }: LoadedAborted): void {
    this.entries = new Map(entries.map((entry) => [entry.lastOffset, entry]));
    this.damaged =
      damage && `its index of aborted transactions is damaged: ${path.basename(file)} at byte ${damage.position}, ${damage.problem}`;
    this.missing = undefined;
    this.wrong = undefined;
  }

  batch(bytes: Buffer, at: number): void {
    const id = producerIdAt(bytes, at);
    if (id < 0n) return;
    const offset = baseOffsetAt(bytes, at);
    if (isControlAt(bytes, at)) this.marker(bytes, at, id, offset);
    else if (isTransactionalAt(bytes, at) && !this.open.has(id)) this.open.set(id, offset);
  }

  /**
   * What does not fit, if anything.
   * @param isLast the segment is still written: its newest entries may not be on the disk, or be of batches that are not; a start sees to
   * it.
   */
  leaveSegment(endOffset: number, isLast: boolean): string | undefined {
    if (this.damaged !== undefined) return this.damaged;
    const unknown = [...this.entries.keys()].find((lastOffset) => !isLast || lastOffset < endOffset);
    const said = unknown === undefined ? undefined : `its index has a transaction aborted at offset ${unknown}, and the log has not`;
    return this.wrong ?? said ?? (isLast ? undefined : this.missing);
  }

  private marker(bytes: Buffer, at: number, id: bigint, offset: number): void {
    const marker = markerAt(bytes, at);
    if (marker === undefined) return;
    const firstOffset = this.open.get(id);
    const lastEnd = this.lastEnds.get(id) ?? -1;
    this.open.delete(id);
    this.lastEnds.set(id, offset);
    const entry = this.entries.get(offset);
    if (marker.outcome === "commit") return; // an entry for it stays in the map
    this.entries.delete(offset);
    if (entry === undefined) {
      if (firstOffset !== undefined) this.missing ??= `its index misses the transaction aborted at offset ${offset}`;
      return;
    }
    const lastStableOffset = this.open.values().next().value ?? offset + 1;
    const begins = entry.firstOffset > lastEnd && entry.firstOffset <= (firstOffset ?? offset);
    if (entry.producerId === id && begins && entry.lastStableOffset <= lastStableOffset) return;
    this.wrong ??= `its index is wrong about the transaction aborted at offset ${offset}`;
  }
}
