/** One after the other, in the order of the calls; a failure is its caller's alone. */
export class Serial {
  private last: Promise<unknown> = Promise.resolve();
  /** What runs beside others, by its key, after `last`. */
  private beside = new Map<string, Promise<unknown>>();

  run<T>(task: () => Promise<T>): Promise<T> {
    const result = Promise.all([this.last, ...this.beside.values()]).then(task);
    this.beside = new Map();
    this.last = result.catch(() => undefined);
    return result;
  }

  /** At the same time as others that run so with another key, so that they share their syncs; not at the same time as a `run`. */
  runBeside<T>(key: string, task: () => Promise<T>): Promise<T> {
    const { beside } = this;
    const result = (beside.get(key) ?? this.last).then(task);
    const settled = result
      .catch(() => undefined)
      .then(() => {
        if (beside.get(key) === settled) beside.delete(key);
      });
    beside.set(key, settled);
    return result;
  }

  /** When all that was asked for so far is done. */
  async idle(): Promise<void> {
    await this.run(async () => undefined);
  }
}
