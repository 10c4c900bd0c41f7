import type { JournalPosition, JournalVisitor, QueueJournal } from "../../src/log/contract/queueJournal.ts";

/** A journal that watches its pins: none is released twice, and what is read is pinned. `pinned` is what is kept. */
export class PinCheck implements QueueJournal {
  reads = 0;
  moves = 0;
  /** A slow disk. */
  beforeRead: () => Promise<void> = async () => undefined;
  readonly pinned = new Map<JournalPosition, number>();

  /** @param watches false where memory is measured. */
  constructor(
    private readonly journal: QueueJournal,
    private readonly watches: boolean,
  ) {}

  get stats(): QueueJournal["stats"] {
    return this.journal.stats;
  }

  append(...args: Parameters<QueueJournal["append"]>): JournalPosition {
    const position = this.journal.append(...args);
    if (this.watches) this.pinned.set(position, args[2]);
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
    if (this.watches) this.pinned.set(position, (this.pinned.get(position) ?? 0) + 1);
    this.journal.pin(position);
  }

  drop(...args: Parameters<QueueJournal["drop"]>): JournalPosition {
    const position = this.journal.drop(...args);
    if (this.watches) this.pinned.set(position, 1);
    return position;
  }

  /** The tenants as the journal sees them: what moves takes its pin along. */
  static watching(visitor: JournalVisitor, check: () => PinCheck): JournalVisitor {
    const pass = (moved: boolean, from: JournalPosition, to: JournalPosition): boolean => {
      if (moved) check().repin(from, to);
      return moved;
    };
    return {
      ...visitor,
      moved: (queue, offset, from, to) => pass(visitor.moved(queue, offset, from, to), from, to),
      idMoved: (queue, id, from, to) => pass(visitor.idMoved(queue, id, from, to), from, to),
    };
  }

  async read(position: JournalPosition): ReturnType<QueueJournal["read"]> {
    this.reads++;
    if (this.watches && !this.pinned.has(position)) throw new Error(`${position} is read, but not pinned`);
    await this.beforeRead();
    return this.journal.read(position);
  }

  sync(): Promise<void> {
    return this.journal.sync();
  }

  close(): Promise<void> {
    return this.journal.close();
  }

  private repin(from: JournalPosition, to: JournalPosition): void {
    if (!this.watches) return;
    this.unpin(from);
    this.pinned.set(to, (this.pinned.get(to) ?? 0) + 1);
    this.moves++;
  }

  private unpin(position: JournalPosition): void {
    if (!this.watches) return;
    const pins = this.pinned.get(position) ?? 0;
    if (pins === 0) throw new Error(`${position} is released, but not pinned`);
    if (pins === 1) this.pinned.delete(position);
    else this.pinned.set(position, pins - 1);
  }
}
