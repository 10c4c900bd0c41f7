import type { ConfirmChannel } from "amqplib";

export const EXCHANGE = "flights";
export const TOPIC = "flights";
export const DEPARTURES = "departures.sfo";
export const ARRIVALS = "arrivals.sfo";

/** Far more than can be in flight: what is published again after a kill is surely still in the window. */
const DEDUPE_IDS = 100_000;

/** Declared again after each reconnect, as any publisher would: it is there already and stays as it is. */
export async function declareTopology(channel: ConfirmChannel): Promise<void> {
  await channel.assertExchange(EXCHANGE, "topic", { durable: true });
  const topic = { "x-queue-type": "stream", "x-partitions": 4, "x-dedupe": DEDUPE_IDS };
  await channel.assertQueue(TOPIC, { durable: true, arguments: topic });
  await channel.bindQueue(TOPIC, EXCHANGE, "#");
  for (const [queue, pattern] of [
    [DEPARTURES, "SFO.*"],
    [ARRIVALS, "*.SFO"],
  ] as const) {
    await channel.assertQueue(queue, { durable: true, arguments: { "x-dedupe": DEDUPE_IDS } });
    await channel.bindQueue(queue, EXCHANGE, pattern);
  }
}
