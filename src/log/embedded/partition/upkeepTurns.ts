/** Upkeep, and whatever else removes segments, one after the other. */
export class UpkeepTurns {
  private last: Promise<unknown> = Promise.resolve();
  private hurried = 0;

  /** Somebody waits who need not wait for a compaction. */
  get inAHurry(): boolean {
    return this.hurried > 0;
  }

  take<T>(work: () => Promise<T>): Promise<T> {
    const done = this.last.then(work);
    this.last = done.catch(() => undefined);
    return done;
  }

  /** As soon as what is under way lets it. */
  takeSoon<T>(work: () => Promise<T>): Promise<T> {
    this.hurried++;
    return this.take(() => {
      this.hurried--;
      return work();
    });
  }

  async over(): Promise<void> {
    await this.last;
  }
}
