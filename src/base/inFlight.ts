/** Counts what is under way. One may wait until nothing is. */
export class InFlight {
  private count = 0;
  private noneIsLeft = (): void => undefined;

  get any(): boolean {
    return this.count > 0;
  }

  begin(): void {
    this.count++;
  }

  end(): void {
    if (--this.count === 0) this.noneIsLeft();
  }

  /** For one who waits, while there are any. */
  none(): Promise<void> {
    return new Promise((resolve) => {
      this.noneIsLeft = resolve;
    });
  }
}
