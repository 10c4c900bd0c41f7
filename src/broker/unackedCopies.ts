import type { JournalPosition } from "../log/contract/queueJournal.ts";
import type { Copy, KeptContent } from "./copy.ts";

/** What was delivered and not settled yet, by offset. */
export class UnackedCopies {
  /** Made with the first one: an empty map takes 180 bytes of an idle queue. */
  private copies: Map<number, Copy> | undefined;

  get count(): number {
    return this.copies?.size ?? 0;
  }

  add(copy: Copy): void {
    this.copies ??= new Map();
    this.copies.set(copy.offset, copy);
  }

  /** Undefined: it is settled, or the queue was deleted meanwhile. */
  take(offset: number): Copy | undefined {
    const copy = this.copies?.get(offset);
    if (copy !== undefined) this.copies?.delete(offset);
    return copy;
  }

  takeAll(): readonly Copy[] {
    const { all } = this;
    this.copies = undefined;
    return all;
  }

  /** In the order in which they were delivered. */
  get all(): Copy[] {
    return [...(this.copies?.values() ?? [])];
  }

  positionOf(offset: number): JournalPosition | undefined {
    return this.copies?.get(offset)?.position;
  }

  move(offset: number, to: JournalPosition): void {
    const copy = this.copies?.get(offset);
    if (copy !== undefined) this.copies?.set(offset, { ...copy, position: to });
  }

  /** It may be moved meanwhile, and what it was read from be gone. */
  async contentOf(offset: number, read: (position: JournalPosition) => Promise<KeptContent>): Promise<KeptContent | undefined> {
    for (;;) {
      const position = this.positionOf(offset);
      if (position === undefined) return undefined;
      try {
        return await read(position);
      } catch (error) {
        if (this.positionOf(offset) === position) throw error;
      }
    }
  }
}
