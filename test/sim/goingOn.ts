/** Once the disk works again, so does everything else, by itself and soon. */
import type { Appending } from "./appending.ts";
import type { Queueing } from "./queueing.ts";
import { demand } from "./violation.ts";
import type { Settled, World } from "./world.ts";

/** Twice the longest pause between two tries. */
const soonMs = 60_000;
/**
 * A disk does much in a second: in longer steps the minute would be over with a few turns of the loop, in the middle of a repair that waits
 * for its files behind others.
 */
const stepMs = 1000;
const answerTurnsMax = 1000;
/** What the last try of that time may take, of a partition with many segments. */
const tryTurns = 300;

export class GoingOn {
  constructor(
    private readonly world: World,
    private readonly appending: Appending,
    private readonly queueing: Queueing,
  ) {}

  async check(): Promise<void> {
    const { world, appending } = this;
    await world.pass(soonMs, soonMs / stepMs);
    await world.turns(tryTurns);
    for (const topic of appending.appendable) {
      for (const partition of topic.partitions.keys()) {
        if (topic.existence !== "there") continue;
        this.demandNone(await world.until(appending.one(topic, partition), answerTurnsMax), `${topic.name}-${partition}`);
      }
    }
    this.demandNone(await world.until(this.queueing.publishing.one(), answerTurnsMax), "the queues' journal");
  }

  private demandNone(answer: Settled<unknown> | undefined, what: string): void {
    demand(answer !== undefined, () => `the disk works again, and ${what} does not answer`);
    demand(answer.value === undefined, () => `the disk works again, and ${what} takes nothing: ${String(answer.value)}`);
    this.world.note("what failed goes on by itself");
  }
}
