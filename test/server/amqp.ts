import amqp from "amqplib";
import { cleanUp } from "./support.ts";

/** A confirm channel of amqplib, closed with the test. */
export async function channelTo(address: string): Promise<amqp.ConfirmChannel> {
  const connection = await amqp.connect(address, { noDelay: true });
  connection.on("error", () => undefined); // a killed node
  cleanUp(async () => {
    await connection.close().catch(() => undefined);
  });
  const channel = await connection.createConfirmChannel();
  channel.on("error", () => undefined);
  return channel;
}

const topicArguments = { "x-queue-type": "stream", "x-partitions": 2, "x-dedupe": 10_000, "x-partition-key": "message-id" };

/** Publishes readings with these ids to the topic `readings` and resolves when they are confirmed. */
export async function publishReadings(channel: amqp.ConfirmChannel, ids: readonly number[]): Promise<void> {
  await channel.assertQueue("readings", { durable: true, arguments: topicArguments });
  for (const id of ids) {
    const reading = { id, sensor: `s${id % 3}`, at: new Date(Date.UTC(2001, 0, 1) + id * 1000) };
    channel.sendToQueue("readings", Buffer.from(JSON.stringify(reading)), { persistent: true, messageId: String(id) });
  }
  await channel.waitForConfirms();
}

export const idsBelow = (end: number): number[] => Array.from({ length: end }, (_, id) => id);
