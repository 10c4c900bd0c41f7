/** What only bytes can say: broken frames, frames of several channels mixed, methods that no client sends. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { VirtualHost } from "../../../src/broker/contract.ts";
import { encodeMethod } from "../../../src/protocol/amqp/codec/methodCodec.ts";
import { methods } from "../../../src/protocol/amqp/codec/methods.ts";
import { listenAmqp } from "../../../src/protocol/amqp/listener.ts";
import { until } from "../../support/until.ts";
import { AmqpNode, insidesOf } from "./node.ts";
import { contentHeader, frame, publish, publishMethod, RawClient, rawClient } from "./raw.ts";

let node: AmqpNode;
let bystander: RawClient;

beforeAll(async () => {
  node = await AmqpNode.start();
  bystander = await rawClient(node.port);
  await bystander.declare("bystander");
});
afterAll(async () => {
  bystander.close();
  await node.stop();
});

/** Every case ends with this: the others go on. */
async function othersGoOn(): Promise<void> {
  await bystander.declare("bystander");
}

test("another protocol's greeting is answered with ours, and the end", async () => {
  const client = new RawClient(node.port);
  client.send(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
  await client.end();
  expect(client.unframed).toEqual(Buffer.from("AMQP\x00\x00\x09\x01", "latin1"));
});

test("the greeting byte by byte", async () => {
  const client = new RawClient(node.port);
  for (const byte of Buffer.from("AMQP\x00\x00\x09\x01", "latin1")) {
    client.send(Buffer.of(byte));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const start = await client.expect("connection.start");
  expect(start.serverProperties).toMatchObject({ product: "Millrace", version: "0.0.0-test" });
  client.close();
});

const ack = (channel: number) => encodeMethod(channel, "basic.ack", { deliveryTag: 1, multiple: false });
const broken = (bytes: Buffer, at: number, octet: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy[at] = octet;
  return copy;
};
const simple = { ticket: 0, nowait: false, arguments: {} };

test.each<[string, number, Buffer]>([
  ["a frame without its end octet", 501, broken(ack(1), 20, 0)],
  ["a frame longer than negotiated", 501, broken(ack(1), 3, 0x7f)],
  ["an unknown frame type", 501, broken(ack(1), 0, 5)],
  ["a body longer than announced", 501, Buffer.concat([publishMethod(1, "", "q"), contentHeader(1, 2), frame(3, 1, Buffer.from("abc"))])],
  ["a string that passes its frame", 502, frame(1, 1, Buffer.from([0, 60, 0, 40, 0, 0, 200, 1, 2]))],
  ["properties that pass their frame", 502, Buffer.concat([publishMethod(1, "", "q"), contentHeader(1, 0, Buffer.of(0x80, 0, 9, 1))])],
  ["a method of the server", 503, encodeMethod(1, "basic.get-empty", { clusterId: "" })],
  ["a channel that is not open", 504, ack(2)],
  ["a channel opened twice", 504, encodeMethod(1, "channel.open", { outOfBand: "" })],
  ["content without a publish", 505, contentHeader(1, 1)],
  ["a method in the middle of a publish", 505, Buffer.concat([publishMethod(1, "", "q"), ack(1)])],
  ["a publish in the middle of a publish", 505, Buffer.concat([publishMethod(1, "", "q"), publish(1, "", "q", Buffer.from("x"))])],
  ["content on channel 0", 505, contentHeader(0, 1)],
  ["more channels than negotiated", 530, encodeMethod(2048, "channel.open", { outOfBand: "" })],
  ["a transaction", 540, encodeMethod(1, "tx.select", {})],
  ["a prefetch in bytes", 540, encodeMethod(1, "basic.qos", { prefetchSize: 1, prefetchCount: 1, global: false })],
  ["immediate", 540, encodeMethod(1, "basic.publish", { ticket: 0, exchange: "", routingKey: "q", mandatory: false, immediate: true })],
  ["recover without requeue", 540, encodeMethod(1, "basic.recover", { requeue: false })],
  ["stopping the flow", 540, encodeMethod(1, "channel.flow", { active: false })],
  ["a new secret", 540, encodeMethod(0, "connection.update-secret", { newSecret: Buffer.of(1), reason: "" })],
  ["an unknown method", 540, frame(1, 1, Buffer.from([0, 60, 0, 99]))],
  ["an expiration", 540, Buffer.concat([publishMethod(1, "", "q"), contentHeader(1, 0, Buffer.of(1, 0, 1, 0x35))])],
  [
    "carbon copies",
    540,
    Buffer.concat([publishMethod(1, "", "q"), contentHeader(1, 0, Buffer.from([0x20, 0, 0, 0, 0, 8, 2, 0x43, 0x43, 0x41, 0, 0, 0, 0]))]),
  ],
  [
    "a consumer's priority",
    540,
    encodeMethod(1, "basic.consume", {
      ...simple,
      queue: "bystander",
      consumerTag: "",
      noLocal: false,
      noAck: false,
      exclusive: false,
      arguments: { "x-priority": 1 },
    }),
  ],
])("%s closes the connection with %i; the others go on", async (_what, code, bytes) => {
  const client = await rawClient(node.port);
  client.send(bytes);
  const close = await client.expect("connection.close");
  expect(close.replyCode).toBe(code);
  client.method(0, "connection.close-ok", {});
  await client.end();
  await othersGoOn();
});

test("a frame before the connection is open is refused", async () => {
  const client = new RawClient(node.port);
  client.send(Buffer.from("AMQP\x00\x00\x09\x01", "latin1"));
  await client.expect("connection.start");
  client.send(publish(1, "", "q", Buffer.from("x")));
  expect((await client.expect("connection.close")).replyCode).toBe(504);
  client.close();
});

test("an unknown virtual host is refused with 530", async () => {
  const client = new RawClient(node.port);
  client.login({ virtualHost: "/nowhere" }).catch(() => undefined);
  await until("it is told", () => client.frames.some(({ payload }) => payload.readUInt16BE(2) === 50 && payload.readUInt16BE(4) === 530));
  client.close();
});

test("a refused login: the connection just ends for a client that does not know better", async () => {
  await expect(new RawClient(node.port).login({ password: "wrong" })).rejects.toThrow("the connection ended");
  const polite = new RawClient(node.port);
  polite.login({ password: "wrong", capabilities: { authentication_failure_close: true } }).catch(() => undefined);
  await until("it is told", () => polite.frames.some(({ payload }) => payload.readUInt16BE(0) === 10 && payload.readUInt16BE(2) === 50));
  polite.close();
});

const pieces = (channel: number, letter: string): Buffer[] => [
  publishMethod(channel, "", "mixed"),
  contentHeader(channel, 6),
  ...[1, 2, 3].map(() => frame(3, channel, Buffer.from(letter + letter))),
];

test("publishes of several channels, frame by frame in between each other, stay whole and confirmed", async () => {
  const client = await rawClient(node.port);
  await client.openChannel(2);
  await client.declare("mixed");
  for (const channel of [1, 2]) {
    client.method(channel, "confirm.select", { nowait: false });
    await client.expect("confirm.select-ok");
  }
  const [one, two] = [pieces(1, "a"), pieces(2, "b")];
  const mixed = Buffer.concat(one.flatMap((piece, at) => [piece, two[at] as Buffer]));
  for (let at = 0; at < mixed.length; at += 11) {
    client.send(mixed.subarray(at, at + 11));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await client.expect("basic.ack");
  await client.expect("basic.ack");
  const bodies: string[] = [];
  for (let i = 0; i < 2; i++) {
    client.method(1, "basic.get", { ticket: 0, queue: "mixed", noAck: true });
    await client.expect("basic.get-ok");
    await client.frame();
    bodies.push(((await client.frame())?.payload ?? "").toString());
  }
  expect(bodies.sort()).toEqual(["aaaaaa", "bbbbbb"]);
  client.close();
});

test("what follows an operation waits for it: everything sent in one piece happens in order", async () => {
  const client = await rawClient(node.port);
  const declare = encodeMethod(1, "queue.declare", {
    ...simple,
    queue: "in-order",
    passive: false,
    durable: true,
    exclusive: false,
    autoDelete: false,
  });
  const purge = encodeMethod(1, "queue.purge", { ticket: 0, queue: "", nowait: false });
  const remove = encodeMethod(1, "queue.delete", { ticket: 0, queue: "", ifUnused: false, ifEmpty: false, nowait: false });
  const one = publish(1, "", "in-order", Buffer.from("x"));
  client.send(Buffer.concat([declare, one, one, purge, one, declare, remove]));
  expect(await client.expect("queue.declare-ok")).toMatchObject({ messageCount: 0 });
  expect(await client.expect("queue.purge-ok")).toEqual({ messageCount: 2 });
  expect(await client.expect("queue.declare-ok")).toMatchObject({ messageCount: 1 });
  expect(await client.expect("queue.delete-ok")).toEqual({ messageCount: 1 });
  client.close();
});

test("a closed channel drops what was on its way, and can be opened again", async () => {
  const client = await rawClient(node.port);
  client.send(
    Buffer.concat([publish(1, "nowhere", "k", Buffer.from("x")), publish(1, "", "bystander", Buffer.from("y")), publishMethod(1, "", "q")]),
  );
  expect(await client.expect("channel.close")).toMatchObject({ replyCode: 404, classId: 60, methodId: 40 });
  client.send(Buffer.concat([contentHeader(1, 3), frame(3, 1, Buffer.from("abc"))]));
  client.method(1, "channel.close-ok", {});
  await client.openChannel(1);
  await client.declare("bystander");
  expect(node.queue("bystander")?.published).toBe(0);
  client.close();
});

const from = (user: string): Buffer => Buffer.concat([Buffer.of(0, 0x10, user.length), Buffer.from(user)]);

test("a message in another user's name closes the channel", async () => {
  const client = await rawClient(node.port);
  await client.declare("signed");
  client.send(publish(1, "", "signed", Buffer.from("x"), 100, from("guest")));
  client.send(publish(1, "", "signed", Buffer.from("x"), 100, from("admin")));
  expect(await client.expect("channel.close")).toMatchObject({ replyCode: 406, methodId: 40 });
  expect(node.queue("signed")?.published).toBe(1);
  client.close();
});

test("a delivery that nobody may have twice: get while the connection is lost gives it back", async () => {
  const client = await rawClient(node.port);
  await client.declare("got");
  client.send(publish(1, "", "got", Buffer.from("x")));
  await until("there", () => node.queue("got")?.ready === 1);
  client.method(1, "basic.get", { ticket: 0, queue: "got", noAck: false });
  await until("taken", () => node.queue("got")?.unacknowledged === 1);
  client.close();
  await until("given back", () => node.queue("got")?.ready === 1);
});

test("a lost connection's exclusive queues go, also where another part of giving back fails", async () => {
  const client = await rawClient(node.port);
  const declare = async (queue: string, exclusive: boolean, autoDelete: boolean): Promise<void> => {
    const rest = { ticket: 0, passive: false, durable: false, nowait: false, arguments: {} };
    client.method(1, "queue.declare", { ...rest, queue, exclusive, autoDelete });
    await client.expect("queue.declare-ok");
  };
  await declare("theirs", true, false);
  await declare("consumed", false, true);
  await client.consume("consumed");
  const host = node.broker.virtualHost("/") as VirtualHost;
  const { cancel } = host;
  host.cancel = () => Promise.reject(new Error("the disk is full"));
  try {
    client.close();
    await until("gone", () => node.queue("theirs") === undefined);
  } finally {
    host.cancel = cancel;
  }
});

test("no-wait: done, and no answer", async () => {
  const client = await rawClient(node.port);
  const flags = { passive: false, durable: true, autoDelete: false };
  client.method(1, "exchange.declare", { ...simple, ...flags, exchange: "quiet", type: "fanout", internal: false, nowait: true });
  client.method(1, "queue.declare", { ...simple, ...flags, queue: "quiet", exclusive: false, nowait: true });
  client.method(1, "queue.bind", { ...simple, queue: "quiet", exchange: "quiet", routingKey: "", nowait: true });
  client.method(1, "confirm.select", { nowait: true });
  client.send(publish(1, "quiet", "", Buffer.from("x")));
  const next = await client.frame();
  expect(next?.payload.readUInt16BE(2)).toBe(methods["basic.ack"].id[1]);
  expect(node.queue("quiet")?.ready).toBe(1);
  client.close();
});

test("heartbeats go out when nothing else does; a client that sends none is dropped", async () => {
  const timers: { at: number; ring: () => void; cancelled: boolean }[] = [];
  let now = 0;
  const clock = {
    now: () => now,
    monotonicMs: () => now,
    after(delayMs: number, ring: () => void) {
      const timer = { at: now + delayMs, ring, cancelled: false };
      timers.push(timer);
      return {
        cancel: () => {
          timer.cancelled = true;
        },
      };
    },
  };
  const advance = (ms: number): void => {
    now += ms;
    for (const timer of timers.filter((timer) => timer.at <= now && !timer.cancelled)) {
      timer.cancelled = true;
      timer.ring();
    }
  };
  const timed = await AmqpNode.start({ clock, limits: { heartbeatSeconds: 60 } });
  const client = await rawClient(timed.port, { heartbeat: 10 });
  const heartbeats = () => client.frames.filter(({ type }) => type === 8).length;
  advance(5000); // the answers so far count as life
  advance(5000);
  await until("a heartbeat", () => heartbeats() === 1);
  const connection = insidesOf(timed.listener)[0] as ReturnType<typeof insidesOf>[number];
  expect(connection.heartbeat.received).toBe(false);
  client.send(frame(8, 0, Buffer.alloc(0)));
  await until("the client's heartbeat came", () => connection.heartbeat.received);
  for (let i = 0; i < 4; i++) advance(5000);
  expect(connection.socket.destroyed).toBe(false);
  advance(5000);
  expect(connection.socket.destroyed).toBe(true);
  await client.end();
  await until("it is gone", () => timed.listener.connections === 0);
  const silent = new RawClient(timed.port);
  await until("connected", () => timed.listener.connections === 1);
  advance(100_000);
  await silent.end();
  await until("all are gone", () => timed.listener.connections === 0);
  await timed.stop();
});

test("a taken port is said with a code", async () => {
  await expect(listenAmqp({ ...node.listening, port: node.port })).rejects.toMatchObject({ code: "PORT_TAKEN" });
});

test("on shutdown what was published is confirmed, then clients are told", async () => {
  const own = await AmqpNode.start({ limits: { closeTimeoutMs: 100_000 } });
  const client = await rawClient(own.port);
  await client.declare("last");
  client.method(1, "confirm.select", { nowait: false });
  await client.expect("confirm.select-ok");
  client.send(publish(1, "", "last", Buffer.from("x")));
  await until("published", () => own.queue("last")?.published === 1);
  const closing = own.listener.close();
  expect((await client.expect("basic.ack")).deliveryTag).toBe(1);
  expect(await client.expect("connection.close")).toMatchObject({ replyCode: 320 });
  client.method(0, "connection.close-ok", {});
  await closing;
  expect(own.listener.connections).toBe(0);
  await own.stop();
});
