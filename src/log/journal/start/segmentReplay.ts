import { lowerBound } from "../../../base/lowerBound.ts";
import { nextTurn } from "../../../base/nextTurn.ts";
import type { QueueId, ReplayedMessage } from "../../contract/queueJournal.ts";
import type { SegmentRun } from "../segments/segmentRun.ts";
import { Slice } from "../segments/slice.ts";
import type { EntryVisitor } from "./recovery.ts";

/** What the journal said of a run, and needs the index to be done. */
interface Pending {
  acknowledged: number[];
  belowOffset: number;
}

/**
 * Stands before the visitor while the journal's files are replayed: what they say of copies in the segments is done there. Where it takes a
 * look at the index it waits for `settle`: 8 bytes each, after each file of the journal.
 */
export class SegmentReplay implements EntryVisitor {
  private readonly runs = new Map<QueueId, SegmentRun[]>();
  private readonly pending = new Map<SegmentRun, Pending>();

  constructor(private readonly visitor: EntryVisitor) {}

  /** Of each queue in order of the offsets. */
  add(run: SegmentRun): void {
    const runs = this.runs.get(run.queue);
    if (runs === undefined) this.runs.set(run.queue, [run]);
    else runs.push(run);
  }

  message(message: ReplayedMessage): void {
    this.visitor.message(message);
  }

  acknowledged(queue: QueueId, offset: number): void {
    this.visitor.acknowledged(queue, offset);
    const runs = this.runs.get(queue);
    if (runs === undefined) return;
    const run = runs[lowerBound(0, runs.length, (n) => (runs[n] as SegmentRun).firstOffset > offset) - 1];
    if (run === undefined || offset > run.lastOffset) return;
    if (!run.isDense) return void this.pendingOf(run).acknowledged.push(offset);
    const ordinal = run.begin + offset - run.firstOffset;
    if (run.segment.isAlive(ordinal)) run.segment.end(ordinal);
  }

  dropped(queue: QueueId, belowOffset: number): void {
    this.visitor.dropped(queue, belowOffset);
    for (const run of this.runs.get(queue) ?? []) {
      if (run.lastOffset < belowOffset) run.segment.endCopies(run.begin, run.end);
      else if (run.firstOffset < belowOffset) this.pendingOf(run).belowOffset = belowOffset;
    }
  }

  async settle(): Promise<void> {
    const slice = new Slice();
    for (const [run, { acknowledged, belowOffset }] of this.pending) {
      const { segment } = run;
      if (belowOffset >= 0) segment.endCopies(run.begin, await run.ordinalOf(belowOffset, run.begin));
      let ordinal = run.begin;
      let before = -1;
      for (const offset of acknowledged) {
        ordinal = await run.ordinalOf(offset, offset < before ? run.begin : ordinal);
        before = offset;
        if (segment.isAlive(ordinal) && (await run.holdsAt(ordinal, offset))) segment.end(ordinal);
        if (slice.isOver(2)) await nextTurn();
      }
    }
    this.pending.clear();
  }

  private pendingOf(run: SegmentRun): Pending {
    let pending = this.pending.get(run);
    if (pending === undefined) this.pending.set(run, (pending = { acknowledged: [], belowOffset: -1 }));
    return pending;
  }
}
