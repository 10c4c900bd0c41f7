import type { Address } from "../../src/record/address.ts";
import { Receipt } from "../../src/record/receipt.ts";
import { MiB } from "./batches.ts";
import { type BenchBroker, messageTo } from "./brokers.ts";

export const MESSAGE_BYTES = 1024;
/** As from a socket's chunk. */
const MESSAGES_A_TURN = 64;
/** What all publishers together have unconfirmed. */
const IN_FLIGHT_BYTES_MAX = 4 * MiB;

/** Messages of 1 KiB, round robin to all queues, with a receipt a turn as a channel has; resolves when everything is confirmed. */
export async function publishAll({ host }: BenchBroker, addresses: readonly Address[], bytes: number): Promise<void> {
  const content = Buffer.alloc(MESSAGE_BYTES, "abcdefghijklmnop");
  const messages = addresses.map((address) => messageTo(address, content));
  const total = Math.ceil(bytes / MESSAGE_BYTES);
  let inFlight = 0;
  let resume: (() => void) | undefined;
  for (let sent = 0; sent < total; ) {
    const count = Math.min(MESSAGES_A_TURN, total - sent);
    const receipt = new Receipt((failure) => {
      if (failure !== undefined) throw failure;
      inFlight -= count * MESSAGE_BYTES;
      resume?.();
    });
    for (let n = 0; n < count; n++, sent++) host.publish(messages[sent % messages.length] as (typeof messages)[number], receipt);
    receipt.seal();
    inFlight += count * MESSAGE_BYTES;
    await new Promise<void>((resolve) => setImmediate(resolve));
    const most = sent < total ? IN_FLIGHT_BYTES_MAX : 0;
    if (inFlight > most) {
      await new Promise<void>((resolve) => {
        resume = () => {
          if (inFlight <= most) resolve();
        };
      });
    }
  }
}
