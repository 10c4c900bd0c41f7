import { expect, test } from "vitest";
import { MillraceError } from "../../src/base/errors.ts";
import { Address } from "../../src/record/address.ts";
import { records } from "../../src/record/batch.ts";
import { partitionFor } from "../../src/record/partitioner.ts";
import type { StoredRecord } from "../../src/record/record.ts";
import { TestConsumer } from "./consumer.ts";
import { confirm, message } from "./message.ts";
import { BrokerNode } from "./node.ts";

async function partitionsOf(node: BrokerNode, topic: string): Promise<StoredRecord[][]> {
  const partitions: StoredRecord[][] = [];
  for (const descriptor of (await node.log.describeTopic(topic))?.partitions ?? []) {
    const reader = await node.log.openReader(descriptor);
    const found: StoredRecord[] = [];
    for (let at = reader.startOffset(); at < reader.highWatermark(); at = (found.at(-1) as StoredRecord).offset + 1) {
      found.push(...records(await reader.read(at, 1 << 20)));
    }
    await reader.close();
    partitions.push(found);
  }
  return partitions;
}

const stream = { "x-queue-type": "stream", "x-partitions": 4 };

test("a message in a topic is its payload, with the key its partition was chosen by, and everything else in one header", async () => {
  const node = await BrokerNode.start();
  await node.queue("flights", stream);
  await node.exchange("x", "topic");
  await node.host.bindQueue("flights", "x", "#", {}, node);
  const keys = ["SFO.JFK", "JFK.LAX", "grün.weiß", ""];
  const { receipt, settled } = confirm();
  for (const key of keys) node.host.publish(message({ exchange: "x", key, body: `to ${key}` }), receipt);
  receipt.seal();
  await settled;
  const partitions = await partitionsOf(node, "flights");
  for (const key of keys) {
    const [record] = partitions[partitionFor(Buffer.from(key), 4)]?.filter(({ value }) => String(value) === `to ${key}`) ?? [];
    expect(String(record?.key)).toBe(key);
    expect(record?.headers.map((header) => header.key)).toEqual(["amqp"]);
    const amqp = record?.headers[0]?.value as Buffer;
    const address = Address.decode(amqp);
    expect([address.exchange, address.routingKey]).toEqual(["x", key]);
    expect([...amqp.subarray(address.encoded.length)]).toEqual([0, 0]); // the properties, to the byte
  }
  expect(node.broker.status().topics[0]).toMatchObject({ name: "flights", published: 4, duplicates: 0 });
  await node.stop();
});

test("partitions by message-id, by a header, or in turn", async () => {
  const node = await BrokerNode.start();
  for (const key of ["message-id", "header:user", "none"]) await node.queue(key, { ...stream, "x-partition-key": key });
  const { receipt, settled } = confirm();
  for (let n = 0; n < 40; n++) {
    for (const key of ["message-id", "header:user", "none"]) {
      const headers = n % 2 === 0 ? { user: n % 3 } : {};
      node.host.publish(message({ key, body: String(n), id: `id${n}`, headers }), receipt);
    }
  }
  receipt.seal();
  await settled;
  for (const [partition, found] of (await partitionsOf(node, "message-id")).entries()) {
    for (const { key, value } of found) {
      expect(String(key)).toBe(`id${value}`);
      expect(partitionFor(key as Buffer, 4)).toBe(partition);
    }
  }
  for (const [partition, found] of (await partitionsOf(node, "header:user")).entries()) {
    for (const { key, value } of found) {
      expect(key === null ? undefined : String(key)).toBe(Number(value) % 2 === 0 ? String(Number(value) % 3) : undefined);
      if (key !== null) expect(partitionFor(key, 4)).toBe(partition);
    }
  }
  expect((await partitionsOf(node, "none")).map((found) => found.length)).toEqual([10, 10, 10, 10]);
  await node.stop();
});

const code = async (of: () => unknown): Promise<string | undefined> => {
  try {
    await of();
  } catch (error) {
    return (error as MillraceError).code;
  }
  return undefined;
};

test("what cannot be done with a topic over the broker is refused", async () => {
  const node = await BrokerNode.start();
  await node.queue("t", stream);
  expect(await code(() => node.host.consume("t", new TestConsumer()))).toBe("NOT_IMPLEMENTED");
  expect(await code(() => node.host.get("t", true, node))).toBe("NOT_IMPLEMENTED");
  expect(await code(() => node.host.purgeQueue("t", node))).toBe("NOT_IMPLEMENTED");
  expect(await code(() => node.queue("t", { ...stream, "x-partitions": 5 }))).toBe("PRECONDITION_FAILED");
  await node.log.createTopic("made elsewhere", { partitions: 2 });
  expect(await code(() => node.queue("made elsewhere", stream))).toBe("PRECONDITION_FAILED");
  await node.stop();
});

test("Kafka's properties of a topic come as arguments, and a compacted one takes no message without a key", async () => {
  const node = await BrokerNode.start();
  const properties = { "x-cleanup-policy": "compact", "x-delete-retention-ms": "2 h", "x-min-cleanable-dirty-ratio": 0.25 };
  const more = { "x-message-timestamp-type": "LogAppendTime", "x-segment-bytes": 5000, "x-partition-key": "header:user" };
  await node.queue("t", { ...stream, ...properties, ...more });
  expect((await node.log.describeTopic("t"))?.config).toMatchObject({
    cleanupPolicy: "compact",
    deleteRetentionMs: 7_200_000,
    minCleanableDirtyRatio: 0.25,
    timestampType: "LogAppendTime",
    segmentBytes: 5000,
  });
  expect(await code(() => node.host.publish(message({ key: "t", body: "x" }), undefined))).toBe("RECORD_WITHOUT_KEY");
  expect(await code(() => node.host.publish(message({ key: "t", body: "x", headers: { user: "u" } }), undefined))).toBe(undefined);
  await node.stop();
});
