/** Runs at most `jobsMax` jobs at once; the others wait in order. What waits is rows in memory, which the sink's buffer limit bounds. */
export class Jobs {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly jobsMax: number) {}

  async run<R>(job: () => Promise<R>): Promise<R> {
    if (this.running >= this.jobsMax) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.running++;
    try {
      return await job();
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.running--;
      else next();
    }
  }
}
