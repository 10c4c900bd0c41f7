/** Clients that never read, never acknowledge, never stop: what they take is limited, and the others go on. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { nodeFileSystem } from "../../../src/base/nodeFileSystem.ts";
import type { AmqpLimits } from "../../../src/protocol/amqp/config.ts";
import { changed } from "../../support/changed.ts";
import { until } from "../../support/until.ts";
import { AmqpNode, insidesOf } from "./node.ts";
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
/** What the disk waits for before it syncs. */
let slowDisk: Promise<void>;
const fileSystem = changed(nodeFileSystem, {
  open: async (name, mode) => {
    const file = await nodeFileSystem.open(name, mode);
    const sync = file.sync.bind(file);
    const writeSynced = file.writeSynced.bind(file);
    file.sync = () => slowDisk.then(sync);
    file.writeSynced = (...what) => slowDisk.then(() => writeSynced(...what));
    return file;
  },
});

beforeEach(async () => {
  slowDisk = Promise.resolve();
  node = await AmqpNode.start({ limits, publishBytesMax, fileSystem });
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

/** What waits on the socket that waits most. */
const waitingBytes = (): number => Math.max(...insidesOf(node.listener).map((connection) => connection.output.waitingBytes));

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
  const isHeldBack = (): boolean => (node.queue("unread")?.ready ?? 0) > 0 && waitingBytes() > 128 * kibi;
  let count = 0;
  // how much the kernel's buffers take is the machine's affair
  while (!isHeldBack()) {
    for (let i = 0; i < 500; i++) publisher.send(message);
    count += 500;
    await until("all published", () => node.queue("unread")?.published === count);
  }
  await worksNormally("elsewhere");
  expect(waitingBytes()).toBeLessThan(256 * kibi + message.length);
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
  await until("a hundred delivered", () => node.queue("hoarded")?.ready === 900);
  expect(node.queue("hoarded")?.unacknowledged).toBe(100);
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
  slowDisk = until("the publisher waits", () => pauses > 0);
  for (let i = 0; i < bursts; i++) flood.send(burst);
  await worksNormally("elsewhere");
  await until("all published", () => node.queue("flooded")?.published === bursts * 64);
  // beyond the limit: one turn of the one connection that publishes so much
  expect(most).toBeLessThan(publishBytesMax + 2 * 64 * kibi + 40 * kibi);
});

test("a client that reads no answers is asked no more: replySocketBytesMax", async () => {
  const deaf = await client();
  deaf.socket.pause();
  const lost = Buffer.concat([publishMethod(1, "", "nowhere", true), contentHeader(1, 0)]);
  const body = publish(1, "", "nowhere", Buffer.alloc(16 * kibi));
  const returned = Buffer.concat([publishMethod(1, "", "nowhere", true), body.subarray(body.readUInt32BE(3) + 8)]);
  const isHeldBack = (): boolean => waitingBytes() > 512 * kibi;
  while (!isHeldBack()) {
    for (let i = 0; i < 100; i++) deaf.send(returned);
    await until("held back, or all of it read", () => isHeldBack() || deaf.socket.writableLength === 0);
  }
  for (let i = 0; i < 500; i++) deaf.send(returned);
  deaf.send(lost);
  await worksNormally("elsewhere");
  expect(waitingBytes()).toBeLessThan(512 * kibi + 3 * 64 * kibi);
  expect(insidesOf(node.listener).some(({ gate }) => gate.held)).toBe(true);
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
