/**
 * A limit with a name on bytes that wait for something slower: the journal, the topics, a socket. Taking never fails
 * (what has been read from a socket must go somewhere); whoever feeds it looks at `over` and stops reading until
 * `onRelief`. The overshoot is therefore at most one socket chunk a feeder.
 */
export class ByteBudget {
  private usedBytes = 0;
  private readonly waiting = new Set<() => void>();

  constructor(
    readonly name: string,
    readonly limitBytes: number,
  ) {}

  get used(): number {
    return this.usedBytes;
  }

  get over(): boolean {
    return this.usedBytes >= this.limitBytes;
  }

  take(bytes: number): void {
    this.usedBytes += bytes;
  }

  /** Gives back; below half of the limit those who wait go on (half: so that they don't flutter). */
  release(bytes: number): void {
    this.usedBytes -= bytes;
    if (this.waiting.size === 0 || this.usedBytes > this.limitBytes / 2) return;
    const resumed = [...this.waiting];
    this.waiting.clear();
    for (const resume of resumed) resume();
  }

  /** Calls once when there is room again; the same function waits only once. */
  onRelief(resume: () => void): void {
    this.waiting.add(resume);
  }

  forget(resume: () => void): void {
    this.waiting.delete(resume);
  }
}
