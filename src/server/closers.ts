import type { Logger } from "../base/logger.ts";

/** What was opened, to be closed in the opposite order. A close that fails is said, and the others still happen. */
export class Closers {
  private readonly steps: { readonly what: string; readonly close: () => Promise<void> | void }[] = [];

  constructor(private readonly logger: Logger) {}

  add(what: string, close: () => Promise<void> | void): void {
    this.steps.push({ what, close });
  }

  /** Rejects with the first failure, after all of them. */
  async closeAll(): Promise<void> {
    let failure: { readonly error: unknown } | undefined;
    for (let step = this.steps.pop(); step !== undefined; step = this.steps.pop()) {
      try {
        await step.close();
      } catch (error) {
        failure ??= { error };
        this.logger.error(`closing ${step.what} failed`, { error });
      }
    }
    if (failure !== undefined) throw failure.error;
  }
}
