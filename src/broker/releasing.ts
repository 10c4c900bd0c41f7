import { Receipt } from "../record/receipt.ts";
import type { Copy } from "./copy.ts";
import type { ReadyMessages } from "./readyMessages.ts";

const releasedPerTurnMax = 4096;

/** Many copies at once, without holding the loop. */
export async function inSlices(copies: Iterable<Copy>, each: (copy: Copy) => void): Promise<void> {
  let done = 0;
  for (const copy of copies) {
    each(copy);
    if (++done % releasedPerTurnMax === 0) await new Promise<void>((resume) => setImmediate(resume));
  }
}

/** What was not in memory, unread. @param forGood else an entry of the journal says so already */
export async function releaseRuns(ready: ReadyMessages, forGood: boolean): Promise<void> {
  for (const part of ready.runParts()) await part.run.release(part, forGood);
}

/** Resolves when what `start` gave its receipt to is durable. */
export function durably(start: (receipt: Receipt) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const receipt = new Receipt((failure) => (failure === undefined ? resolve() : reject(failure)));
    start(receipt);
    receipt.seal();
  });
}
