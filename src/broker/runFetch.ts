import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import { isClosed } from "./readAhead.ts";
import type { ReadyMessages } from "./readyMessages.ts";

const retryAfterMs = 1000;

/** Has what is not in memory of a queue's next copies come nearer while the others are delivered. */
export class RunFetch {
  private busy = false;

  constructor(
    private readonly queueName: string,
    private readonly clock: Clock,
    private readonly logger: Logger,
    /** Some came, or it is time to try again. */
    private readonly arrived: () => void,
  ) {}

  start(ready: ReadyMessages): void {
    const fetching = this.busy ? undefined : ready.fetch();
    if (fetching === undefined) return;
    this.busy = true;
    const done = (): void => {
      this.busy = false;
      this.arrived();
    };
    fetching.then(done, (error: unknown) => {
      if (isClosed(error)) return; // nothing goes out any more
      this.logger.error("cannot read from the journal what comes next; trying again", { queue: this.queueName, error });
      this.clock.after(retryAfterMs, done);
    });
  }
}
