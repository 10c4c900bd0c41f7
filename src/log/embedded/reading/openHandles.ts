import { ByteBudget } from "../../../base/byteBudget.ts";

/** Of all readers of a log in one thread together; a reader that finds no room reads when it is asked. */
const READ_AHEAD_BYTES_MAX = 16 * 1024 * 1024;

/** Someone who holds open files that it can do without for a while. */
export interface HandleOwner {
  /** Asks it to close them, and to say so: after what it does now, or a little more, and without waiting for anybody who may wait for files. */
  releaseFiles(): void;
}

/**
 * A limit on those who have files open. Whoever wants to open some waits for a place, first come first served, and has no file open
 * meanwhile; those who used theirs longest ago are asked to let go. So nobody waits for one who waits, and everybody comes to his turn.
 */
export class OpenHandles {
  /** What readers hold of their open files before it is asked for. */
  readonly readAhead = new ByteBudget("read ahead", READ_AHEAD_BYTES_MAX);
  /** In the order of their last use. */
  private readonly owners = new Set<HandleOwner>();
  /** They leave soon. */
  private readonly asked = new Set<HandleOwner>();
  private readonly waiting: { readonly owner: HandleOwner; readonly enter: () => void }[] = [];

  constructor(readonly ownersMax: number) {}

  /** Resolves when it may open its files; it has a place from then on until `released`, also if it opens none. */
  async enter(owner: HandleOwner): Promise<void> {
    if (this.has(owner)) return;
    if (this.count < this.ownersMax) {
      this.owners.add(owner);
      return;
    }
    const entered = new Promise<void>((enter) => this.waiting.push({ owner, enter }));
    this.askOldest();
    await entered;
  }

  /** For somebody who has files open for this work only, waits for nobody in it, and has no place yet. */
  async briefly<T>(work: () => Promise<T>): Promise<T> {
    const owner: HandleOwner = { releaseFiles() {} };
    await this.enter(owner);
    try {
      return await work();
    } finally {
      this.released(owner);
    }
  }

  /** It uses its open files now. */
  used(owner: HandleOwner): void {
    if (this.owners.delete(owner)) this.owners.add(owner);
  }

  /** Its files are closed. */
  released(owner: HandleOwner): void {
    const hadPlace = this.owners.delete(owner) || this.asked.delete(owner);
    const next = hadPlace ? this.waiting.shift() : undefined;
    if (next === undefined) return;
    this.owners.add(next.owner);
    next.enter();
    this.askOldest(); // who has just come may be the only one who was not asked
  }

  get count(): number {
    return this.owners.size + this.asked.size;
  }

  private has(owner: HandleOwner): boolean {
    return this.owners.has(owner) || this.asked.has(owner);
  }

  /** As many as wait. */
  private askOldest(): void {
    for (const oldest of this.owners) {
      if (this.asked.size >= this.waiting.length) return;
      this.owners.delete(oldest);
      this.asked.add(oldest);
      oldest.releaseFiles();
    }
  }
}
