/** A client that we did not write: amqplib. */
import { type Channel, type ChannelModel, type ConfirmChannel, type ConsumeMessage, connect, type GetMessage } from "amqplib";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { until } from "../../support/until.ts";
import { AmqpNode } from "./node.ts";

let node: AmqpNode;
let connection: ChannelModel;
let channel: ConfirmChannel;
/** Why the channel was closed. */
let channelError: (Error & { code?: number; classId?: number; methodId?: number }) | undefined;

beforeAll(async () => {
  node = await AmqpNode.start();
  connection = await connect(node.url);
});
beforeEach(async () => {
  channelError = undefined;
  channel = await connection.createConfirmChannel();
  channel.on("error", (error) => {
    channelError = error;
  });
});
afterAll(async () => {
  await connection.close();
  await node.stop();
});

const text = (message: { content: Buffer } | false | null) => message && message.content.toString();

async function send(queue: string, ...bodies: string[]): Promise<void> {
  for (const body of bodies) channel.sendToQueue(queue, Buffer.from(body), { persistent: true });
  await channel.waitForConfirms();
}

/** Collects what a consumer gets; acknowledges nothing. */
async function consumer(on: Channel, queue: string, options = {}): Promise<{ got: ConsumeMessage[]; tag: string; cancelled: boolean }> {
  const state = { got: [] as ConsumeMessage[], tag: "", cancelled: false };
  const { consumerTag } = await on.consume(
    queue,
    (message) => {
      if (message === null) state.cancelled = true;
      else state.got.push(message);
    },
    options,
  );
  state.tag = consumerTag;
  return state;
}

test("what is published with confirms is consumed and acknowledged", async () => {
  await channel.assertExchange("flights", "topic");
  await channel.assertQueue("arrivals");
  await channel.bindQueue("arrivals", "flights", "*.SFO");
  for (const key of ["JFK.SFO", "SFO.JFK", "LAX.SFO"]) {
    channel.publish("flights", key, Buffer.from(key), { persistent: true, messageId: key, headers: { n: 1 } });
  }
  await channel.waitForConfirms();
  const { got } = await consumer(channel, "arrivals");
  await until("both arrive", () => got.length === 2);
  expect(
    got.map((message) => [message.fields.routingKey, text(message), message.properties.messageId, message.fields.redelivered]),
  ).toEqual([
    ["JFK.SFO", "JFK.SFO", "JFK.SFO", false],
    ["LAX.SFO", "LAX.SFO", "LAX.SFO", false],
  ]);
  expect(got[0]?.properties.headers).toEqual({ n: 1 });
  for (const message of got) channel.ack(message);
  await until("both are acknowledged", () => node.queue("arrivals")?.unacknowledged === 0 && node.queue("arrivals")?.ready === 0);
});

test("nack and reject: requeued ones come again, marked; discarded ones don't", async () => {
  await channel.assertQueue("again");
  await send("again", "a", "b", "c");
  const { got } = await consumer(channel, "again");
  await until("three", () => got.length === 3);
  channel.nack(got[0] as ConsumeMessage, false, true);
  channel.reject(got[1] as ConsumeMessage, false);
  channel.ack(got[2] as ConsumeMessage);
  await until("one more", () => got.length === 4);
  expect([text(got[3] as ConsumeMessage), got[3]?.fields.redelivered]).toEqual(["a", true]);
  channel.ack(got[3] as ConsumeMessage);
  await until("nothing left", () => node.queue("again")?.unacknowledged === 0);
  expect(node.queue("again")?.ready).toBe(0);
});

test("acknowledging several at once; recover brings back what was not", async () => {
  await channel.assertQueue("several");
  await send("several", "1", "2", "3", "4");
  const { got } = await consumer(channel, "several");
  await until("four", () => got.length === 4);
  channel.ack(got[2] as ConsumeMessage, true);
  await until("one is left", () => node.queue("several")?.unacknowledged === 1);
  await channel.recover();
  await until("it came again", () => got.length === 5);
  expect([text(got[4] as ConsumeMessage), got[4]?.fields.redelivered]).toEqual(["4", true]);
  channel.ackAll();
  await until("nothing left", () => node.queue("several")?.unacknowledged === 0);
});

test("get: one by one, how many remain, and nothing", async () => {
  await channel.assertQueue("getting");
  await send("getting", "x", "y");
  const first = (await channel.get("getting")) as GetMessage;
  expect([text(first), first.fields.messageCount, first.fields.redelivered]).toEqual(["x", 1, false]);
  channel.nack(first);
  const again = (await channel.get("getting", { noAck: true })) as GetMessage;
  expect([text(again), again.fields.redelivered]).toEqual(["x", true]);
  expect(text(await channel.get("getting", { noAck: true }))).toBe("y");
  expect(await channel.get("getting")).toBe(false);
});

test("a mandatory message that goes nowhere comes back before its confirm", async () => {
  const events: string[] = [];
  channel.on("return", ({ content, fields }) => {
    const { replyCode, replyText } = fields as unknown as { replyCode: number; replyText: string };
    events.push(`returned ${content.toString()} ${replyCode} ${replyText}`);
  });
  channel.publish("amq.topic", "nobody", Buffer.from("lost"), { mandatory: true }, () => events.push("confirmed"));
  await channel.waitForConfirms();
  expect(events).toEqual(["returned lost 312 NO_ROUTE", "confirmed"]);
});

test("prefetch: each consumer its own, or all of a channel together", async () => {
  await channel.assertQueue("window");
  await send("window", ..."abcdefghij");
  const own = await connection.createChannel();
  await own.prefetch(2);
  const one = await consumer(own, "window");
  const two = await consumer(own, "window");
  await until("two each", () => one.got.length + two.got.length === 4);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect([one.got.length, two.got.length]).toEqual([2, 2]);
  own.ack(one.got[0] as ConsumeMessage);
  await until("one more", () => one.got.length === 3);
  await own.close();
  await until("all but the acknowledged one are back", () => node.queue("window")?.ready === 9);

  const shared = await connection.createChannel();
  await shared.prefetch(3, true);
  const three = await consumer(shared, "window");
  const four = await consumer(shared, "window");
  await until("three together", () => three.got.length + four.got.length === 3);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(three.got.length + four.got.length).toBe(3);
  shared.ackAll();
  await until("three more", () => three.got.length + four.got.length === 6);
  await shared.close();
});

test("a cancelled consumer gets no more, and keeps what it has", async () => {
  await channel.assertQueue("leaving");
  await send("leaving", "1");
  const leaving = await consumer(channel, "leaving");
  await until("one", () => leaving.got.length === 1);
  await channel.cancel(leaving.tag);
  await send("leaving", "2");
  expect(node.queue("leaving")).toMatchObject({ ready: 1, unacknowledged: 1, consumers: 0 });
  channel.ack(leaving.got[0] as ConsumeMessage);
  await until("acknowledged", () => node.queue("leaving")?.unacknowledged === 0);
  expect(leaving.got.length).toBe(1);
});

test("a consumer hears that its queue was deleted", async () => {
  await channel.assertQueue("short-lived");
  await send("short-lived", "a");
  const other = await consumer(channel, "short-lived");
  await until("delivered", () => other.got.length === 1);
  const second = await connection.createChannel();
  await second.deleteQueue("short-lived");
  await until("cancelled", () => other.cancelled);
  channel.ack(other.got[0] as ConsumeMessage); // too late, and no error
  await channel.assertQueue("short-lived");
  expect(channelError).toBeUndefined();
});

test("server-named and exclusive queues: their own connection's, and gone with it", async () => {
  const other = await connect(node.url);
  const theirs = await other.createChannel();
  const { queue } = await theirs.assertQueue("", { exclusive: true });
  expect(queue).toMatch(/^amq\.gen-/);
  await expect(channel.checkQueue(queue)).rejects.toMatchObject({ code: 405 });
  await other.close();
  await until("gone", () => node.queue(queue) === undefined);
});

test("purge, unbind, exchange to exchange, delete if empty", async () => {
  await channel.assertExchange("outer", "fanout");
  await channel.assertExchange("inner", "direct");
  await channel.bindExchange("inner", "outer", "");
  await channel.assertQueue("end");
  await channel.bindQueue("end", "inner", "k");
  channel.publish("outer", "k", Buffer.from("1"));
  channel.publish("outer", "other", Buffer.from("2"));
  await channel.waitForConfirms();
  expect(await channel.purgeQueue("end")).toEqual({ messageCount: 1 });
  await channel.unbindQueue("end", "inner", "k");
  channel.publish("outer", "k", Buffer.from("3"));
  await channel.waitForConfirms();
  expect(await channel.checkQueue("end")).toEqual({ queue: "end", messageCount: 0, consumerCount: 0 });
  await channel.unbindExchange("inner", "outer", "");
  expect(await channel.deleteQueue("end", { ifEmpty: true, ifUnused: true })).toEqual({ messageCount: 0 });
  await channel.deleteExchange("outer", { ifUnused: true });
});

test.each<[string, number, (on: Channel) => unknown]>([
  ["a queue that is not there", 404, (on) => on.checkQueue("nowhere")],
  ["consuming from it", 404, (on) => on.consume("nowhere", () => undefined)],
  ["an exchange that is not there", 404, (on) => on.checkExchange("nowhere")],
  ["a reserved name", 403, (on) => on.assertExchange("amq.mine", "direct")],
  ["other properties than it has", 406, (on) => on.assertExchange("amq.topic", "direct")],
  ["a queue's argument that there is not", 406, (on) => on.assertQueue("odd", { arguments: { "retention.ms": 1 } })],
  ["a consumer's argument that there is not", 406, (on) => on.consume("still-here", () => undefined, { arguments: { priority: 1 } })],
  ["an unknown exchange type", 406, (on) => on.assertExchange("odd", "no-such-type")],
])("%s closes the channel, and only it", async (_what, code, act) => {
  const other = await connection.createChannel();
  other.on("error", () => undefined);
  await expect(act(other)).rejects.toMatchObject({ code });
  await channel.assertQueue("still-here");
});

test("publishing to an unknown exchange closes the channel with the method it was", async () => {
  channel.publish("nowhere", "k", Buffer.from("x"));
  await until("closed", () => channelError !== undefined);
  expect(channelError).toMatchObject({ code: 404, classId: 60, methodId: 40 });
  expect(channelError?.message).toContain("NOT_FOUND - no exchange 'nowhere' in vhost '/'");
});

test("an exclusive consumer is alone", async () => {
  await channel.assertQueue("alone");
  await consumer(channel, "alone", { exclusive: true });
  const second = await connection.createChannel();
  second.on("error", () => undefined);
  await expect(second.consume("alone", () => undefined)).rejects.toMatchObject({ code: 403 });
});

test("an unknown delivery tag closes the channel", async () => {
  channel.ack({ fields: { deliveryTag: 7 } } as ConsumeMessage);
  await until("closed", () => channelError !== undefined);
  expect(channelError?.message).toContain("PRECONDITION_FAILED - unknown delivery tag 7");
});

test("a message that is too large closes the channel", async () => {
  const small = await AmqpNode.start({ limits: { messageBytesMax: 1000 } });
  const limited = await connect(small.url);
  const theirs = await limited.createChannel();
  const failed = new Promise<{ code: number }>((resolve) => theirs.on("error", resolve));
  theirs.sendToQueue("q", Buffer.alloc(1001));
  expect(await failed).toMatchObject({ code: 406 });
  const next = await limited.createConfirmChannel();
  next.sendToQueue("q", Buffer.alloc(1000));
  await next.waitForConfirms();
  await limited.close();
  await small.stop();
});

test("large messages go through connections with short and long frames, both ways", async () => {
  const short = await connect(`${node.url}?frameMax=4096`);
  const theirs = await short.createConfirmChannel();
  await theirs.assertQueue("large");
  const body = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => (i * 31 + (i >> 8)) & 255));
  theirs.sendToQueue("large", body, { persistent: true });
  channel.sendToQueue("large", body, { persistent: true });
  await theirs.waitForConfirms();
  await channel.waitForConfirms();
  const onShort = await consumer(theirs, "large", { noAck: true });
  await until("both on short frames", () => onShort.got.length === 2);
  expect(onShort.got.every((message) => message.content.equals(body))).toBe(true);
  await theirs.cancel(onShort.tag);
  theirs.sendToQueue("large", body, { persistent: true });
  await theirs.waitForConfirms();
  const onLong = (await channel.get("large", { noAck: true })) as GetMessage;
  expect(onLong.content.equals(body)).toBe(true);
  await short.close();
});

test("a wrong password is refused, and the client is told", async () => {
  await expect(connect(node.url.replace("guest:guest", "guest:wrong"))).rejects.toThrow(/403|ACCESS.REFUSED/);
});

test("an unknown virtual host is refused", async () => {
  await expect(connect(`${node.url}/nowhere`)).rejects.toThrow("ConnectionClose");
});

test("a lost connection gives back what it had", async () => {
  await channel.assertQueue("given-back");
  await send("given-back", "1", "2");
  const other = await connect(node.url);
  other.on("error", () => undefined);
  const theirs = await other.createChannel();
  const lost = await consumer(theirs, "given-back");
  await until("two", () => lost.got.length === 2);
  (other as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  await until("both are back", () => node.queue("given-back")?.ready === 2);
  expect(((await channel.get("given-back")) as GetMessage).fields.redelivered).toBe(true);
});
