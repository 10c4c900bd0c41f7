import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import { nextTurn } from "../base/nextTurn.ts";
import { RepeatedTrouble } from "../base/repeatedTrouble.ts";
import type { QueueJournal } from "../log/contract/queueJournal.ts";
import { Receipt } from "../record/receipt.ts";
import type { ReadyMessages } from "./readyMessages.ts";

const releasedPerTurnMax = 4096;
const retryAfterMs = 1000;

interface ReleaseSurroundings {
  readonly journal: Pick<QueueJournal, "stats">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Many at once, without holding the loop. */
export async function inSlices<T>(all: Iterable<T>, each: (one: T) => void): Promise<void> {
  let done = 0;
  for (const one of all) {
    each(one);
    if (++done % releasedPerTurnMax === 0) await nextTurn();
  }
}

/**
 * What was not in memory, unread. Where the disk fails it is tried again until the journal is closed: pins that are left would keep files
 * of the journal, and it would stop when it has as many as it may.
 * @param forGood else an entry of the journal says so already
 */
export async function releaseRuns(
  ready: ReadyMessages,
  forGood: boolean,
  queue: string,
  { journal, clock, logger }: ReleaseSurroundings,
): Promise<void> {
  const trouble = new RepeatedTrouble();
  for (const part of ready.runParts()) {
    for (;;) {
      try {
        await part.run.release(part, forGood);
        break;
      } catch (error) {
        if (journal.stats.refused === "JOURNAL_CLOSED") throw error;
        if (trouble.isNews(error))
          logger.error("cannot give up messages of a queue that is purged or deleted; trying again", { queue, error });
        await new Promise<void>((resume) => void clock.after(retryAfterMs, resume));
      }
    }
  }
}

/** Resolves when what `start` gave its receipt to is durable. */
export function durably(start: (receipt: Receipt) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const receipt = new Receipt((failure) => (failure === undefined ? resolve() : reject(failure)));
    start(receipt);
    receipt.seal();
  });
}
