import type { JournalPosition, JournalVisitor, QueueJournal } from "../../src/log/contract/queueJournal.ts";
import { ordinalOf, serialOf } from "../../src/log/journal/segments/segment.ts";
import type { SegmentRun } from "../../src/log/journal/segments/segmentRun.ts";

/** A journal that watches its pins: none is released twice, and what is read is pinned. `pinned` is how much is kept. */
export class PinCheck implements QueueJournal {
  reads = 0;
  moves = 0;
  /** What became of copies in runs. */
  readonly met = { runsFound: 0, stretches: 0, runsMoved: 0 };
  /** A slow disk. */
  beforeRead: () => Promise<void> = async () => undefined;
  private journal!: QueueJournal;
  /** But what is in a run: those know it themselves. */
  private readonly pins = new Map<JournalPosition, number>();
  private readonly runs = new Set<SegmentRun>();
  /** What was in them is about to be elsewhere. */
  private readonly replaced = new Set<SegmentRun>();

  private constructor(private readonly watches: boolean) {}

  /** @param watches false where memory is measured. */
  static async open(
    open: (visitor: JournalVisitor) => Promise<QueueJournal>,
    visitor: JournalVisitor,
    watches: boolean,
  ): Promise<PinCheck> {
    const check = new PinCheck(watches);
    check.journal = await open(check.watching(visitor));
    return check;
  }

  get pinned(): { readonly size: number } {
    return { size: [...this.runs].reduce((sum, run) => sum + run.live, this.pins.size) };
  }

  get stats(): QueueJournal["stats"] {
    return this.journal.stats;
  }

  append(...args: Parameters<QueueJournal["append"]>): JournalPosition {
    const position = this.journal.append(...args);
    if (this.watches) this.pins.set(position, args[2]);
    return position;
  }

  joinPending(...args: Parameters<QueueJournal["joinPending"]>): void {
    this.journal.joinPending(...args);
  }

  acknowledge(...args: Parameters<QueueJournal["acknowledge"]>): void {
    this.unpin(args[2]);
    this.journal.acknowledge(...args);
  }

  release(position: JournalPosition): void {
    this.unpin(position);
    this.journal.release(position);
  }

  pin(position: JournalPosition): void {
    if (this.watches) this.pins.set(position, (this.pins.get(position) ?? 0) + 1);
    this.journal.pin(position);
  }

  drop(...args: Parameters<QueueJournal["drop"]>): JournalPosition {
    const position = this.journal.drop(...args);
    if (this.watches) this.pins.set(position, 1);
    return position;
  }

  /** The visitor as the journal sees it: what moves takes its pin along. */
  private watching(visitor: JournalVisitor): JournalVisitor {
    const pass = (moved: boolean, from: JournalPosition, to: JournalPosition): boolean => {
      if (moved) this.repin(from, to);
      return moved;
    };
    return {
      ...visitor,
      kept: (run) => {
        const kept = visitor.kept(run);
        if (kept) this.runs.add(run as SegmentRun);
        if (run.live > 0) this.met.runsFound++;
        return kept;
      },
      moved: (queue, offset, from, to) => pass(visitor.moved(queue, offset, from, to), from, to),
      idMoved: (queue, id, from, to) => pass(visitor.idMoved(queue, id, from, to), from, to),
      stretch: (run) => {
        const stretched = run as SegmentRun;
        for (const position of this.pins.keys()) if (isIn(stretched, position)) this.pins.delete(position);
        this.runs.add(stretched);
        this.met.stretches++;
        visitor.stretch(run);
      },
      runMoved: (run, replaced) => {
        for (const one of replaced) if (this.runs.delete(one as SegmentRun)) this.replaced.add(one as SegmentRun);
        this.runs.add(run as SegmentRun);
        const ranges = visitor.runMoved(run, replaced);
        this.met.runsMoved += ranges.length;
        return ranges;
      },
    };
  }

  async read(position: JournalPosition): ReturnType<QueueJournal["read"]> {
    this.reads++;
    if (this.watches && !this.pins.has(position) && !this.isInRun(position)) throw new Error(`${position} is read, but not pinned`);
    await this.beforeRead();
    return this.journal.read(position);
  }

  sync(): Promise<void> {
    return this.journal.sync();
  }

  close(...args: Parameters<QueueJournal["close"]>): Promise<void> {
    return this.journal.close(...args);
  }

  private repin(from: JournalPosition, to: JournalPosition): void {
    if (!this.watches) return;
    this.unpin(from);
    if (!this.isInRun(to)) this.pins.set(to, (this.pins.get(to) ?? 0) + 1);
    this.moves++;
  }

  /** And lives there. */
  private isInRun(position: JournalPosition): boolean {
    return [...this.runs, ...this.replaced].some(
      (run) => isIn(run, position) && (run.segment.isAlive(ordinalOf(position)) || this.runs.has(run)),
    );
  }

  private unpin(position: JournalPosition): void {
    if (!this.watches || this.isInRun(position)) return;
    const pins = this.pins.get(position) ?? 0;
    if (pins === 0) throw new Error(`${position} is released, but not pinned`);
    if (pins === 1) this.pins.delete(position);
    else this.pins.set(position, pins - 1);
  }
}

const isIn = ({ segment, begin, end }: SegmentRun, position: JournalPosition): boolean =>
  serialOf(position) === segment.serial && ordinalOf(position) >= begin && ordinalOf(position) < end;
