/** Another client that we did not write: rabbitmq-client, with reconnection, publisher and consumer of its own. */
import { Connection } from "rabbitmq-client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../support/until.ts";
import { AmqpNode } from "./node.ts";

let node: AmqpNode;
let client: Connection;

beforeAll(async () => {
  node = await AmqpNode.start();
  client = new Connection(node.url);
  await client.onConnect();
});
afterAll(async () => {
  await client.close();
  await node.stop();
});

test("a thousand events from a publisher with confirms to a consumer with a prefetch", async () => {
  const publisher = client.createPublisher({ confirm: true, exchanges: [{ exchange: "events", type: "topic" }] });
  const got: number[] = [];
  const consumer = client.createConsumer(
    {
      queue: "odd",
      queueOptions: { durable: true },
      qos: { prefetchCount: 50 },
      queueBindings: [{ exchange: "events", routingKey: "odd.#" }],
      exchanges: [{ exchange: "events", type: "topic" }],
    },
    async (message) => {
      got.push(message.body.n);
    },
  );
  await until("it consumes", () => node.queue("odd")?.consumers === 1);
  for (let n = 0; n < 1000; n += 50) {
    const batch = Array.from({ length: 50 }, (_, i) => n + i);
    await Promise.all(
      batch.map((n) =>
        publisher.send({ exchange: "events", routingKey: n % 2 ? "odd.number" : "even", durable: true }, { n, text: "höhe" }),
      ),
    );
  }
  await until("the odd ones", () => got.length === 500);
  expect(got.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, i) => 2 * i + 1));
  await until("acknowledged", () => node.queue("odd")?.unacknowledged === 0);
  await consumer.close();
  await publisher.close();
});

test("a message that its handler fails on is requeued and comes again, marked", async () => {
  const seen: boolean[] = [];
  const consumer = client.createConsumer({ queue: "retry", queueOptions: { durable: true } }, async (message) => {
    seen.push(message.redelivered);
    if (!message.redelivered) throw new Error("not now");
  });
  consumer.on("error", () => undefined);
  await until("it consumes", () => node.queue("retry")?.consumers === 1);
  const publisher = client.createPublisher({ confirm: true });
  await publisher.send("retry", "once more");
  await until("twice", () => seen.length === 2);
  expect(seen).toEqual([false, true]);
  await consumer.close();
  await publisher.close();
});

test("get, and an error that closes only its channel", async () => {
  await client.queueDeclare({ queue: "single", durable: true });
  const publisher = client.createPublisher({ confirm: true });
  await publisher.send("single", { a: 1 });
  await publisher.close();
  expect((await client.basicGet({ queue: "single", noAck: true }))?.body).toEqual({ a: 1 });
  expect(await client.basicGet("single")).toBeUndefined();
  await expect(client.queueDeclare({ queue: "missing", passive: true })).rejects.toMatchObject({ code: "NOT_FOUND" });
  await client.queueDeclare({ queue: "single", passive: true });
});
