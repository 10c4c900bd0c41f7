/** Clients that never read, never acknowledge, never stop: what they take is limited, and the others go on. */
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AmqpLimits } from "../../../src/protocol/amqp/config.ts";
import { AmqpNode, until } from "./node.ts";
import { contentHeader, publish, publishMethod, type RawClient, rawClient } from "./raw.ts";

const kibi = 1024;
const limits: Partial<AmqpLimits> = {
  consumerSocketBytesMax: 256 * kibi,
  replySocketBytesMax: 512 * kibi,
  channelUnackedMax: 100,
  channelConsumersMax: 10,
  turnBytesMax: 64 * kibi,
  connectionAssemblyBytesMax: 1024 * kibi,
};
const publishBytesMax = 1024 * kibi;
let node: AmqpNode;
let clients: RawClient[];

beforeEach(async () => {
  node = await AmqpNode.start({ limits, publishBytesMax });
  clients = [];
});
afterEach(async () => {
  for (const client of clients) client.close();
  await node.stop();
});

async function client(): Promise<RawClient> {
  const made = await rawClient(node.port);
  clients.push(made);
  return made;
}

interface Insides {
  readonly output: { readonly waitingBytes: number };
}
/** What waits on the socket that waits most. */
const waitingBytes = (): number =>
  Math.max(...[...(node.listener as unknown as { open: Set<Insides> }).open].map((connection) => connection.output.waitingBytes));

/** Publishes to `queue` and consumes it: what any well-behaved client does meanwhile. */
async function worksNormally(queue: string): Promise<void> {
  const other = await client();
  await other.declare(queue);
  await other.consume(queue, { noAck: true });
  other.method(1, "confirm.select", { nowait: false });
  await other.expect("confirm.select-ok");
  other.send(publish(1, "", queue, Buffer.from("hello")));
  await until("delivered and confirmed", () => {
    const methods = new Set(other.frames.filter(({ type }) => type === 1).map(({ payload }) => payload.readUInt16BE(2)));
    return methods.has(60) && methods.has(80);
  });
}

test("a consumer that never reads: deliveries stop at consumerSocketBytesMax, and go on when it reads", async () => {
  const silent = await client();
  await silent.declare("unread");
  await silent.consume("unread", { noAck: true });
  silent.socket.pause();
  const publisher = await client();
  const message = publish(1, "", "unread", Buffer.alloc(10 * kibi));
  const count = 2000; // 20 MiB: more than the kernel's buffers take
  for (let i = 0; i < count; i++) publisher.send(message);
  await until("all published", () => node.queue("unread")?.published === count);
  await worksNormally("elsewhere");
  expect(node.queue("unread")?.ready).toBeGreaterThan(0);
  expect(waitingBytes()).toBeLessThan(256 * kibi + message.length);
  expect(waitingBytes()).toBeGreaterThan(128 * kibi);
  silent.socket.resume();
  await until("all delivered", () => node.queue("unread")?.ready === 0);
  await until("all arrived", () => silent.bytesRead > count * 10 * kibi);
});

test("a consumer that never acknowledges: it holds channelUnackedMax, though it set no prefetch", async () => {
  const hoarder = await client();
  await hoarder.declare("hoarded");
  await hoarder.consume("hoarded");
  const publisher = await client();
  for (let i = 0; i < 1000; i++) publisher.send(publish(1, "", "hoarded", Buffer.from("x")));
  await until("all published", () => node.queue("hoarded")?.published === 1000);
  await worksNormally("elsewhere");
  expect(node.queue("hoarded")).toMatchObject({ unacknowledged: 100, ready: 900 });
  hoarder.method(1, "basic.ack", { deliveryTag: 30, multiple: true });
  await until("thirty more", () => node.queue("hoarded")?.ready === 870);
  hoarder.method(1, "basic.get", { ticket: 0, queue: "hoarded", noAck: false });
  expect((await hoarder.expect("channel.close")).replyCode).toBe(406);
  await until("all are back", () => node.queue("hoarded")?.ready === 970);
});

test("a publisher that never stops: its socket pauses at the publish budget, others publish", async () => {
  const flood = await client();
  await flood.declare("flooded");
  const budget = node.broker.publishBudget;
  const burst = Buffer.concat(Array.from({ length: 64 }, () => publish(1, "", "flooded", Buffer.alloc(16 * kibi))));
  let most = 0;
  let pauses = 0;
  const take = budget.take.bind(budget);
  budget.take = (bytes) => {
    take(bytes);
    most = Math.max(most, budget.used);
  };
  const onRelief = budget.onRelief.bind(budget);
  budget.onRelief = (resume) => {
    pauses++;
    onRelief(resume);
  };
  const bursts = 40;
  for (let i = 0; i < bursts; i++) flood.send(burst);
  await worksNormally("elsewhere");
  await until("all published", () => node.queue("flooded")?.published === bursts * 64);
  expect(pauses).toBeGreaterThan(0);
  // beyond the limit: one turn of the one connection that publishes so much
  expect(most).toBeLessThan(publishBytesMax + 2 * 64 * kibi + 40 * kibi);
}, 60_000);

test("a client that reads no answers is asked no more: replySocketBytesMax", async () => {
  const deaf = await client();
  deaf.socket.pause();
  const lost = Buffer.concat([publishMethod(1, "", "nowhere", true), contentHeader(1, 0)]);
  const body = publish(1, "", "nowhere", Buffer.alloc(16 * kibi));
  const returned = Buffer.concat([publishMethod(1, "", "nowhere", true), body.subarray(body.readUInt32BE(3) + 8)]);
  for (let i = 0; i < 2000; i++) deaf.send(returned);
  deaf.send(lost);
  await until("held back", () => waitingBytes() > 512 * kibi);
  await worksNormally("elsewhere");
  expect(waitingBytes()).toBeLessThan(512 * kibi + 3 * 64 * kibi);
  expect(deaf.socket.writableLength).toBeGreaterThan(0);
});

test("half-received messages: connectionAssemblyBytesMax closes the connection", async () => {
  const sly = await client();
  for (let channel = 2; channel <= 20; channel++) await sly.openChannel(channel);
  for (let channel = 1; channel <= 20; channel++) {
    // the last frame is left out, so that each message stays open
    const frames = publish(channel, "", "q", Buffer.alloc(160 * kibi), 80 * kibi);
    sly.send(frames.subarray(0, frames.length - 80 * kibi - 8));
  }
  expect((await sly.expect("connection.close")).replyCode).toBe(506);
  await worksNormally("elsewhere");
});

test("a client that consumes without end: channelConsumersMax closes the connection", async () => {
  const greedy = await client();
  await greedy.declare("wanted");
  for (let n = 0; n < 10; n++) await greedy.consume("wanted", { tag: `c${n}` });
  await expect(greedy.consume("wanted", { tag: "one more" })).rejects.toThrow('"replyCode":530');
  await until("none left", () => node.queue("wanted")?.consumers === 0);
  await worksNormally("elsewhere");
});
