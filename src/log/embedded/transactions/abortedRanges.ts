import { lowerBound } from "../../../base/lowerBound.ts";
import type { AbortedTransaction } from "../../contract/embeddedLog.ts";

/** Aborted transactions, to be asked about one batch after the other: of 6,000 small ones a read of 1 MiB took 1.4 s without. */
export class AbortedRanges {
  /** A producer's transactions come one after the other. */
  private readonly byProducer = new Map<bigint, AbortedTransaction[]>();

  /** @param aborted in order of their ends */
  constructor(aborted: readonly AbortedTransaction[]) {
    for (const one of aborted) {
      const others = this.byProducer.get(one.producerId);
      if (others === undefined) this.byProducer.set(one.producerId, [one]);
      else others.push(one);
    }
  }

  /** Is the offset in an aborted transaction of the producer's? */
  has(producerId: bigint, offset: number): boolean {
    const ranges = this.byProducer.get(producerId);
    if (ranges === undefined) return false;
    const range = ranges[lowerBound(0, ranges.length, (n) => (ranges[n] as AbortedTransaction).lastOffset >= offset)];
    return range !== undefined && range.firstOffset <= offset;
  }
}
