/** What both consumers have in common: they work for a moment, acknowledge, and remember what they saw. */
import { onParent, tellParent } from "./parent.ts";
import type { ConsumerSettings, FromConsumer, ToConsumer } from "./processMessages.ts";
import { SeenIds } from "./seenIds.ts";

/** How long the work on a delivery takes; many are worked on at once. */
export const WORK_MS = 50;
export const PREFETCH = 500;
const PROGRESS_MS = 50;

export interface Subscription {
  /** Delivered and not yet acknowledged. */
  unacknowledged(): number;
  /** Acknowledges what is open, and closes. */
  close(): Promise<void>;
}

export type Subscribe = (settings: ConsumerSettings, onDelivery: (content: Buffer, redelivered: boolean) => void) => Promise<Subscription>;

/** Runs this process as a consumer with the given client. */
export function runConsumer(subscribe: Subscribe): void {
  let finish: (() => Promise<void>) | undefined;
  const start = async (settings: ConsumerSettings): Promise<void> => {
    const seen = new SeenIds(settings.count);
    const subscription = await subscribe(settings, (content, redelivered) => {
      try {
        seen.record((JSON.parse(content.toString()) as { id: number }).id, redelivered);
      } catch (error) {
        console.error(`${settings.queue}: ${String(error)}`); // a client would only put it back, for ever
        process.exit(1);
      }
    });
    const progress = setInterval(() => {
      const unacknowledged = subscription.unacknowledged();
      tellParent<FromConsumer>({ kind: "progress", seen: seen.distinct, redelivered: seen.redelivered, unacknowledged });
    }, PROGRESS_MS);
    finish = async () => {
      clearInterval(progress);
      await subscription.close();
      await seen.write(settings.seenFile);
      tellParent<FromConsumer>({ kind: "finished" });
    };
    tellParent<FromConsumer>({ kind: "ready" });
  };
  onParent<ToConsumer>(async (message) => {
    if (message.kind === "settings") await start(message.settings);
    else await finish?.();
  });
}
