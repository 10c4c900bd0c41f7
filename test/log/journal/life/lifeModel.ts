import { Random } from "../../../../src/base/random.ts";
import { copyKey, type ModelMessage } from "../journalModel.ts";
import { BranchesMet } from "./branches.ts";

/** What outlives a process: the model beside the journal, and what was met. */
export class LifeModel {
  readonly random: Random;
  readonly branches = new BranchesMet();
  messages: ModelMessage[] = [];
  /** By queue. */
  readonly nextOffset = new Map<number, number>();
  nextId = 0;
  /** Their publish has failed. */
  readonly failed = new Set<ModelMessage>();

  constructor(
    seed: number,
    /** The disk refuses now and then. */
    readonly faulty: boolean,
  ) {
    this.random = new Random(seed);
  }

  someLive(): ModelMessage | undefined {
    const live = this.messages.filter((message) => message.live.size > 0);
    return live.length === 0 ? undefined : this.random.pick(live);
  }

  /** What it is now is so after a crash too. @param live the copies of it that were there */
  durable(message: ModelMessage, live: ReadonlySet<string>): void {
    message.confirmed = true;
    for (const key of message.destinations.map(copyKey)) if (!live.has(key)) message.goneForSure.add(key);
  }
}

export const copyOf = (key: string): [queue: number, offset: number] => key.split("/").map(Number) as [number, number];
