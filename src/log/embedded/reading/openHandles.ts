import { ByteBudget } from "../../../base/byteBudget.ts";

/** Of all readers of a log in one thread together; a reader that finds no room reads when it is asked. */
const READ_AHEAD_BYTES_MAX = 16 * 1024 * 1024;

/** Someone who holds open files that it can do without for a while. */
export interface HandleOwner {
  /** Asks it to close them soon; it may go on if it is using them, and is then asked again. */
  releaseFiles(): void;
}

/**
 * A limit on those who keep files open: the one that used them longest ago is asked to let go. The limit may be passed for as long as
 * the one asked is busy.
 */
export class OpenHandles {
  /** What readers hold of their open files before it is asked for. */
  readonly readAhead = new ByteBudget("read ahead", READ_AHEAD_BYTES_MAX);
  private readonly owners = new Set<HandleOwner>();

  constructor(readonly ownersMax: number) {}

  /** It has files open and uses them now. */
  used(owner: HandleOwner): void {
    this.owners.delete(owner);
    this.owners.add(owner);
    if (this.owners.size <= this.ownersMax) return;
    const oldest = this.owners.values().next().value as HandleOwner;
    this.owners.delete(oldest);
    this.owners.add(oldest); // in case it is too busy: not asked again at once
    oldest.releaseFiles();
  }

  /** Its files are closed. */
  released(owner: HandleOwner): void {
    this.owners.delete(owner);
  }

  get count(): number {
    return this.owners.size;
  }
}
