/** Consumes a queue with rabbitmq-client, which reconnects and subscribes again by itself. */
import { Connection, ConsumerStatus } from "rabbitmq-client";
import { PREFETCH, runConsumer, WORK_MS } from "./consumer.ts";

const RECONNECT_MS = 50;

runConsumer(async (settings, onDelivery) => {
  const connection = new Connection({
    hostname: "127.0.0.1",
    port: settings.port,
    retryLow: RECONNECT_MS,
    retryHigh: RECONNECT_MS * 4,
    noDelay: true,
  });
  connection.on("error", () => undefined); // it tries again
  const working = { deliveries: 0 };
  const consumer = connection.createConsumer(
    { queue: settings.queue, qos: { prefetchCount: PREFETCH }, queueOptions: { queue: settings.queue, passive: true } },
    async (message) => {
      onDelivery(rawContent(message.body), message.redelivered);
      working.deliveries++;
      await new Promise((resolve) => setTimeout(resolve, WORK_MS));
      working.deliveries--;
      return ConsumerStatus.ACK;
    },
  );
  consumer.on("error", () => undefined);
  await new Promise<void>((resolve) => consumer.once("ready", () => resolve()));
  return {
    unacknowledged: () => working.deliveries,
    async close() {
      while (working.deliveries > 0) await new Promise((resolve) => setTimeout(resolve, WORK_MS));
      await consumer.close();
      await connection.close();
    },
  };
});

/** The client has parsed the body if it is application/json. */
function rawContent(body: unknown): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
}
