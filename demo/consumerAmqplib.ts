/** Consumes a queue with amqplib. */
import { type ChannelModel, type ConsumeMessage, connect } from "amqplib";
import { PREFETCH, runConsumer, type Subscription, WORK_MS } from "./consumer.ts";
import type { ConsumerSettings } from "./processMessages.ts";

const RECONNECT_MS = 50;

class AmqplibSubscription implements Subscription {
  private connection: ChannelModel | undefined;
  private open = 0;
  private closing = false;

  constructor(
    private readonly settings: ConsumerSettings,
    private readonly onDelivery: (content: Buffer, redelivered: boolean) => void,
  ) {}

  unacknowledged(): number {
    return this.open;
  }

  async start(): Promise<void> {
    while (!this.closing) {
      try {
        return await this.subscribe();
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
      }
    }
  }

  async close(): Promise<void> {
    while (this.open > 0) await new Promise((resolve) => setTimeout(resolve, WORK_MS));
    this.closing = true;
    await this.connection?.close();
  }

  private async subscribe(): Promise<void> {
    const connection = await connect({ hostname: "127.0.0.1", port: this.settings.port }, { noDelay: true });
    connection.on("error", () => undefined); // "close" follows
    const gone = new Promise<void>((resolve) => connection.once("close", () => resolve()));
    const channel = await connection.createChannel();
    channel.on("error", () => void connection.close().catch(() => undefined));
    let alive = true;
    const acknowledge = (message: ConsumeMessage): void => {
      if (!alive) return;
      this.open--;
      try {
        channel.ack(message);
      } catch {
        // closed in this very moment: it will be delivered again
      }
    };
    await channel.prefetch(PREFETCH);
    await channel.consume(this.settings.queue, (message) => {
      if (message === null) return void connection.close(); // the queue is gone
      this.onDelivery(message.content, message.fields.redelivered);
      this.open++;
      setTimeout(acknowledge, WORK_MS, message);
    });
    this.connection = connection;
    void gone.then(() => {
      alive = false;
      this.open = 0;
      return this.start();
    });
  }
}

runConsumer(async (settings, onDelivery) => {
  const subscription = new AmqplibSubscription(settings, onDelivery);
  await subscription.start();
  return subscription;
});
