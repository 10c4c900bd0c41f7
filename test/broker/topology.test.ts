import { expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { MillraceError } from "../../src/base/errors.ts";
import { silentLogger } from "../../src/base/logger.ts";
import type { Arguments } from "../../src/broker/contract.ts";
import { openKeyedStore } from "../../src/log/keyedStore.ts";
import { TestConsumer } from "./consumer.ts";
import { message } from "./message.ts";
import { BrokerNode, turns } from "./node.ts";

const plain = { durable: true, exclusive: false, autoDelete: false, arguments: {} };
const exchange = { type: "direct", durable: true, autoDelete: false, internal: false, arguments: {} };
const names = (node: BrokerNode): string[] => node.broker.status().queues.map(({ name }) => name);

async function refusal(of: Promise<unknown> | (() => unknown)): Promise<string> {
  try {
    await (typeof of === "function" ? of() : of);
  } catch (error) {
    if (error instanceof MillraceError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "not refused";
}

test("what is durable is there after a crash, with its arguments; the rest is gone", async () => {
  let node = await BrokerNode.start();
  const args = { big: 2n ** 60n, when: new Date(0), bytes: Buffer.from([1, 2]), list: [1, null, "x", { $bytes: "no" }], flag: true };
  await node.exchange("kept", "headers");
  await node.exchange("second", "topic", { "alternate-exchange": "kept" });
  await node.host.declareExchange("fleeting", { ...exchange, durable: false });
  await node.queue("orders", { "x-queue-mode": args.list });
  await node.host.declareQueue("temporary", { ...plain, durable: false }, node);
  await node.host.declareQueue("mine", { ...plain, exclusive: true }, node);
  await node.host.bindQueue("orders", "kept", "k", args, node);
  await node.host.bindQueue("temporary", "kept", "k", args, node);
  await node.host.bindExchange("kept", "second", "a.#", {});
  await node.host.bindQueue("orders", "fleeting", "k", {}, node);

  node = await node.crash();
  expect(names(node)).toEqual(["orders"]);
  expect(await refusal(() => node.host.checkExchange("fleeting"))).toMatch("NOT_FOUND: no exchange 'fleeting' in vhost '/'");
  const consumer = new TestConsumer({ noAck: true });
  node.host.consume("orders", consumer);
  expect(node.host.publish(message({ exchange: "second", key: "a.b", body: "1", headers: args }), undefined)).toBe(true);
  expect(node.host.publish(message({ exchange: "second", key: "nobody", body: "2", headers: args }), undefined)).toBe(true);
  expect(node.host.publish(message({ exchange: "kept", body: "3", headers: { ...args, list: [] } }), undefined)).toBe(false);
  expect(consumer.bodies).toEqual(["1", "2"]);
  await node.exchange("second", "topic", { "alternate-exchange": "kept" });
  await node.queue("orders", { "x-queue-mode": args.list });

  await node.host.unbindQueue("orders", "kept", "k", { ...args, big: Number(2n ** 60n) }, node); // another binding
  await node.host.unbindQueue("orders", "kept", "k", Object.fromEntries(Object.entries(args).toReversed()), node);
  await node.host.deleteExchange("second", { ifUnused: false });
  node = await node.crash();
  expect(node.host.publish(message({ exchange: "kept", body: "4", headers: args }), undefined)).toBe(false);
  expect(await refusal(() => node.host.checkExchange("second"))).toMatch("NOT_FOUND");
  await node.stop();
});

test("a queue that is declared again after its deletion, or after a restart, does not get the other one's messages", async () => {
  let node = await BrokerNode.start();
  await node.host.declareQueue("temporary", { ...plain, durable: false }, node);
  await node.queue("q");
  await node.exchange("all", "fanout");
  for (const name of ["temporary", "q"]) await node.host.bindQueue(name, "all", "", {}, node);
  node.host.publish(message({ exchange: "all", body: "old" }), undefined);
  await node.journal.sync();
  await node.host.deleteQueue("q", { ifUnused: false, ifEmpty: false }, node);
  for (let i = 0; i < 3; i++) {
    await node.queue("q");
    expect(node.broker.status().queues.every(({ name, ready }) => ready === (name === "temporary" ? 1 : 0))).toBe(true);
    node = await node.crash();
    await node.queue("in between");
    await node.queue("q");
    expect(node.broker.status().queues.every(({ ready }) => ready === 0)).toBe(true);
    await node.host.deleteQueue("q", { ifUnused: false, ifEmpty: false }, node);
  }
  await node.stop();
});

test("a deleted queue holds nothing: ready, unacknowledged or remembered", async () => {
  const node = await BrokerNode.start();
  await node.queue("q", { "x-dedupe": 100 });
  node.host.consume("q", new TestConsumer({ room: 2 }));
  for (let n = 0; n < 5; n++) node.host.publish(message({ key: "q", id: String(n), persistent: n % 2 === 0 }), undefined);
  expect(node.journal.pinned.size).toBe(5);
  await node.host.deleteQueue("q", { ifUnused: false, ifEmpty: false }, node);
  expect(node.journal.pinned.size).toBe(0);
  await node.stop();
});

test("an exclusive queue is its owner's, and goes with it", async () => {
  const node = await BrokerNode.start();
  const [owner, other] = [{}, {}];
  const { name } = await node.host.declareQueue("", { ...plain, exclusive: true }, owner);
  expect(name).toMatch(/^amq\.gen-[\w-]{22}$/);
  const locked = `RESOURCE_LOCKED: cannot obtain exclusive access to locked queue '${name}' in vhost '/'`;
  expect(await refusal(() => node.host.checkQueue(name, other))).toBe(locked);
  expect(await refusal(node.host.declareQueue(name, { ...plain, exclusive: true }, other))).toBe(locked);
  expect(await refusal(() => node.host.consume(name, new TestConsumer({ owner: other })))).toBe(locked);
  expect(await refusal(node.host.get(name, true, other))).toBe(locked);
  expect(await refusal(node.host.purgeQueue(name, other))).toBe(locked);
  expect(await refusal(node.host.deleteQueue(name, { ifUnused: false, ifEmpty: false }, other))).toBe(locked);
  expect(await refusal(node.host.bindQueue(name, "amq.fanout", "", {}, other))).toBe(locked);
  expect(node.host.checkQueue(name, owner)).toEqual({ name, messageCount: 0, consumerCount: 0 });
  await node.host.ownerGone(owner);
  expect(await refusal(() => node.host.checkQueue(name, owner))).toBe(`NOT_FOUND: no queue '${name}' in vhost '/'`);
  await node.stop();
});

test("auto-delete: a queue goes with its last consumer, an exchange with its last binding, and so on up", async () => {
  const node = await BrokerNode.start();
  await node.host.declareExchange("top", { ...exchange, autoDelete: true });
  await node.host.declareExchange("middle", { ...exchange, autoDelete: true });
  await node.host.bindExchange("middle", "top", "k", {});
  await node.host.declareQueue("q", { ...plain, autoDelete: true }, node);
  await node.host.bindQueue("q", "middle", "k", {}, node);
  await node.host.bindQueue("q", "middle", "k2", {}, node);
  const [a, b] = [new TestConsumer(), new TestConsumer()];
  node.host.consume("q", a);
  node.host.consume("q", b);
  await node.host.cancel("q", a);
  node.host.checkExchange("top");
  node.host.publish(message({ exchange: "top", key: "k", body: "unacknowledged" }), undefined);
  await node.host.cancel("q", b);
  for (const name of ["top", "middle"]) expect(await refusal(() => node.host.checkExchange(name))).toMatch("NOT_FOUND");
  expect(names(node)).toEqual([]);
  for (const { queue, offset } of b.received) queue.acknowledge(offset); // too late, and harmless
  const again = await node.crash();
  expect(names(again)).toEqual([]);
  await again.stop();
});

test("deleting a queue tells its consumers; if-unused and if-empty hold it back", async () => {
  const node = await BrokerNode.start();
  await node.queue("q");
  const consumer = new TestConsumer({ room: 0 });
  node.host.consume("q", consumer);
  for (let i = 0; i < 3; i++) node.host.publish(message({ key: "q" }), undefined);
  const remove = (ifUnused: boolean, ifEmpty: boolean) => node.host.deleteQueue("q", { ifUnused, ifEmpty }, node);
  expect(await refusal(remove(true, false))).toBe("PRECONDITION_FAILED: queue 'q' in vhost '/' in use");
  expect(await refusal(remove(false, true))).toBe("PRECONDITION_FAILED: queue 'q' in vhost '/' is not empty");
  expect(await remove(false, false)).toBe(3);
  expect(consumer.wasCancelled).toBe(true);
  expect(await remove(false, false)).toBe(0);
  expect(node.host.publish(message({ key: "q" }), undefined)).toBe(false);
  await node.exchange("x", "fanout");
  await node.queue("bound");
  await node.host.bindQueue("bound", "x", "", {}, node);
  expect(await refusal(node.host.deleteExchange("x", { ifUnused: true }))).toBe("PRECONDITION_FAILED: exchange 'x' in vhost '/' in use");
  await node.stop();
});

test("what differs from an earlier declaration is named", async () => {
  const node = await BrokerNode.start();
  await node.exchange("x", "direct");
  await node.queue("q", { "x-dedupe": 5 });
  const redeclare = (change: Partial<typeof exchange>) => refusal(node.host.declareExchange("x", { ...exchange, ...change }));
  const inequivalent = "PRECONDITION_FAILED: inequivalent arg";
  expect(await redeclare({ durable: false })).toBe(
    `${inequivalent} 'durable' for exchange 'x' in vhost '/': received 'false' but current is 'true'`,
  );
  expect(await redeclare({ type: "topic" })).toBe(
    `${inequivalent} 'type' for exchange 'x' in vhost '/': received 'topic' but current is 'direct'`,
  );
  expect(await redeclare({ internal: true })).toMatch("inequivalent arg 'internal'");
  expect(await redeclare({})).toBe("not refused");
  const again = (change: Partial<typeof plain>, args: Arguments = { "x-dedupe": 5 }) =>
    refusal(node.host.declareQueue("q", { ...plain, arguments: args, ...change }, node));
  expect(await again({ autoDelete: true })).toMatch(
    "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'",
  );
  expect(await again({}, {})).toMatch("inequivalent arg 'x-dedupe' for queue 'q' in vhost '/': received none but current is '5'");
  expect(await again({}, { "x-dedupe": 5, "x-queue-type": "quorum" })).toMatch("inequivalent arg 'x-queue-type'");
  expect(await again({}, { "x-dedupe": 5n, "x-queue-type": "classic", "x-queue-mode": "lazy" })).toBe("not refused");
  await node.stop();
});

test("an argument that there is not is refused with the nearest name, also of a queue that is there", async () => {
  const node = await BrokerNode.start();
  const stream = { "x-queue-type": "stream" };
  await node.queue("t", stream);
  const declare = (args: Arguments) => refusal(node.host.declareQueue("t", { ...plain, arguments: args }, node));
  const meant = {
    "retention.ms": "x-retention-ms",
    "retention-ms": "x-retention-ms",
    "x-retention.ms": "x-retention-ms",
    "x-retenton-ms": "x-retention-ms",
    "max.message.bytes": "x-max-message-bytes",
    partitions: "x-partitions",
    "X-Partitions": "x-partitions",
    "x-partiton-key": "x-partition-key",
    "x-queuetype": "x-queue-type",
    dedupe: "x-dedupe",
  };
  for (const [name, known] of Object.entries(meant)) {
    expect(await declare({ ...stream, [name]: 1 })).toBe(
      `PRECONDITION_FAILED: invalid arg '${name}' for queue 't' in vhost '/': there is none of this name; did you mean '${known}'?`,
    );
  }
  expect(await declare({ ...stream, colour: "red" })).toBe(
    "PRECONDITION_FAILED: invalid arg 'colour' for queue 't' in vhost '/': there is none of this name",
  );
  expect(await declare({ ...stream, "x-max-age": "7D" })).toBe(
    "NOT_IMPLEMENTED: the argument 'x-max-age' for queue 't' in vhost '/' is not implemented; a stream here has 'x-retention-ms'",
  );
  expect(await declare(stream)).toBe("not refused");
  await node.stop();
});

test("a queue that an earlier release took with an argument that there is not is still there", async () => {
  const node = await BrokerNode.start();
  await node.stop();
  const store = await openKeyedStore({
    fileSystem: node.fileSystem,
    path: "/data/topology",
    name: "topology",
    formatVersion: 1,
    clock: systemClock,
    logger: silentLogger,
  });
  await store.change(new Map([[JSON.stringify(["queue", "/", "old"]), { id: 1, autoDelete: false, arguments: { colour: "red" } }]]));
  await store.close();
  const next = await node.startOn(node.fileSystem);
  expect(names(next)).toEqual(["old"]);
  await next.stop();
});

test("names, types and arguments that cannot be are refused", async () => {
  const node = await BrokerNode.start({ limits: { queuesMax: 1 } });
  const declare = (name: string, args: Arguments, change = {}) =>
    refusal(node.host.declareQueue(name, { ...plain, ...change, arguments: args }, node));
  const onDefault = "ACCESS_REFUSED: operation not permitted on the default exchange";
  expect(await refusal(node.exchange("", "direct"))).toBe(onDefault);
  expect(await refusal(node.host.deleteExchange("", { ifUnused: false }))).toBe(onDefault);
  expect(await refusal(node.host.bindExchange("", "amq.direct", "", {}))).toBe(onDefault);
  expect(await refusal(node.exchange("amq.mine", "direct"))).toBe(
    "ACCESS_REFUSED: exchange name 'amq.mine' contains reserved prefix 'amq.*'",
  );
  expect(await refusal(node.exchange("amq.direct", "direct"))).toBe("not refused");
  expect(await refusal(node.host.deleteExchange("amq.direct", { ifUnused: false }))).toMatch("ACCESS_REFUSED");
  expect(await declare("amq.mine", {})).toMatch("ACCESS_REFUSED");
  expect(await refusal(node.exchange("x", "x-delayed-message"))).toBe("PRECONDITION_FAILED: unknown exchange type 'x-delayed-message'");
  expect(await refusal(node.exchange("x", "direct", { "x-delayed-type": "topic" }))).toMatch(
    "NOT_IMPLEMENTED: the argument 'x-delayed-type'",
  );
  expect(await refusal(node.exchange("x", "direct", { "x-alternate-exchange": "y" }))).toBe(
    "PRECONDITION_FAILED: invalid arg 'x-alternate-exchange' for exchange 'x' in vhost '/': there is none of this name; did you mean 'alternate-exchange'?",
  );
  const notThere = ["x-message-ttl", "x-expires", "x-dead-letter-exchange", "x-max-length", "x-overflow", "x-max-priority"];
  for (const name of [...notThere, "x-single-active-consumer", "x-delivery-limit"]) {
    expect(await declare("q", { [name]: 1 })).toBe(`NOT_IMPLEMENTED: the argument '${name}' for queue 'q' in vhost '/' is not implemented`);
  }
  expect(await declare("q", { "x-partitions": 2 })).toBe(
    "PRECONDITION_FAILED: invalid arg 'x-partitions' for queue 'q' in vhost '/': it is one of streams ('x-queue-type': 'stream')",
  );
  expect(await declare("q", { "x-queue-type": "other" })).toMatch("PRECONDITION_FAILED");
  const stream = { "x-queue-type": "stream" };
  for (const bad of [0, -1, 1.5, 1025, "3", true, null]) {
    expect(await declare("t", { ...stream, "x-partitions": bad })).toMatch("PRECONDITION_FAILED: invalid arg 'x-partitions'");
  }
  for (const bad of [0, "0 s", "soon", "10 parsecs", 2_000_000, true]) {
    expect(await declare("t", { ...stream, "x-dedupe": bad })).toMatch("PRECONDITION_FAILED: invalid arg 'x-dedupe'");
  }
  expect(await declare("t", { ...stream, "x-sync": "sometimes" })).toMatch("invalid arg 'x-sync'");
  const badProperties = { "retention-ms": -2, "cleanup-policy": "none", "min-cleanable-dirty-ratio": 2, "delete-retention-ms": "soon" };
  for (const [name, bad] of Object.entries(badProperties)) {
    expect(await declare("t", { ...stream, [`x-${name}`]: bad })).toMatch(`PRECONDITION_FAILED: invalid arg 'x-${name}'`);
  }
  const keyless = { "x-cleanup-policy": "compact", "x-partition-key": "none" };
  expect(await declare("t", { ...stream, ...keyless })).toMatch("invalid arg 'x-cleanup-policy'");
  expect(await declare("t", { ...stream, "x-partition-key": "header:" })).toMatch("invalid arg 'x-partition-key'");
  for (const change of [{ durable: false }, { exclusive: true }, { autoDelete: true }]) {
    expect(await declare("t", stream, change)).toMatch("PRECONDITION_FAILED: invalid property");
  }
  await node.host.declareExchange("inside", { ...exchange, internal: true });
  expect(await refusal(() => node.host.publish(message({ exchange: "inside" }), undefined))).toMatch("ACCESS_REFUSED");
  expect(await refusal(() => node.host.publish(message({ exchange: "none" }), undefined))).toMatch("NOT_FOUND");
  await node.exchange("headers", "headers");
  await node.queue("only");
  expect(await refusal(node.host.bindQueue("only", "headers", "", { "x-match": "most" }, node))).toMatch("PRECONDITION_FAILED");
  expect(await declare("second", {})).toBe("PRECONDITION_FAILED: queue limit in vhost '/' (1) is reached");
  const only = new TestConsumer({ exclusive: true });
  node.host.consume("only", only);
  expect(await refusal(() => node.host.consume("only", new TestConsumer()))).toBe(
    "ACCESS_REFUSED: queue 'only' in vhost '/' in exclusive use",
  );
  await node.stop();
});

test("a deleted topic is gone from the log, also when a crash came in between", async () => {
  let node = await BrokerNode.start();
  await node.queue("t", { "x-queue-type": "stream", "x-partitions": 2 });
  await node.queue("stays", { "x-queue-type": "stream" });
  node.host.publish(message({ key: "t", body: "x" }), undefined);
  const deletion = node.host.deleteQueue("t", { ifUnused: false, ifEmpty: false }, node);
  await refusal(deletion);
  node = await node.crash();
  expect(node.log.topicNames()).toEqual(["stays"]);
  for (let wait = 1; wait < 40; wait++) {
    await node.queue("t", { "x-queue-type": "stream", "x-partitions": 2 });
    void node.host.deleteQueue("t", { ifUnused: false, ifEmpty: false }, node).catch(() => undefined);
    await turns(wait);
    node = await node.crash();
    const declared = node.broker.status().topics.some(({ name }) => name === "t");
    expect(node.log.topicNames().includes("t")).toBe(declared);
  }
  await node.stop();
});
