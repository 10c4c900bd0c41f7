/** Once the disk works again, so does everything else, by itself and soon. */
import type { Appending } from "./appending.ts";
import type { Processes } from "./processes.ts";
import type { Queueing } from "./queueing.ts";
import { demand } from "./violation.ts";
import type { Operation, Settled, World } from "./world.ts";

/** Many times the longest pause between two tries. */
const soonMs = 60_000;

export class GoingOn {
  constructor(
    private readonly world: World,
    private readonly processes: Processes,
    private readonly appending: Appending,
    private readonly queueing: Queueing,
  ) {}

  get operations(): readonly Operation[] {
    return [{ name: "the disk works for good", weight: 1, run: () => this.goOn() }];
  }

  private async goOn(): Promise<void> {
    const { world, processes, appending } = this;
    processes.faults.heal();
    if (!world.troubled) return;
    await world.pass(soonMs);
    if (processes.storeFailed) return; // until the next start
    const [topic] = appending.appendable.length === 0 ? [] : [world.random.pick(appending.appendable)];
    if (topic !== undefined) {
      const answer = await world.until(appending.one(topic, 0), 1000);
      this.check(answer, `topic ${topic.name}`);
    }
    const answer = await world.until(this.queueing.publishing.one(), 1000);
    this.check(answer, "the queues' journal");
  }

  private check(answer: Settled<unknown> | undefined, what: string): void {
    demand(answer !== undefined || this.processes.storeFailed, () => `the disk works again, and ${what} does not answer`);
    const failure = answer?.value;
    demand(
      failure === undefined || this.processes.storeFailed,
      () => `the disk works again, and ${what} takes nothing: ${String(failure)}`,
    );
    this.world.note("what failed goes on by itself");
  }
}
