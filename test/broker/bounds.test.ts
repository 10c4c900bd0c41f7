import { expect, test } from "vitest";
import { TestConsumer } from "./consumer.ts";
import { confirm, message } from "./message.ts";
import { BrokerNode, turns } from "./node.ts";

const body = (n: number): string => `${n}`.padEnd(1000, ".");

test("a backlog that nobody takes costs no memory for its content, and then comes in order", async () => {
  const count = 100_000;
  const cacheBytes = 256 * 1024;
  const node = await BrokerNode.start({ limits: { queueCacheBytesMax: cacheBytes } });
  await node.queue("backlog");
  const consumer = new TestConsumer({ noAck: true, room: 0 });
  node.host.consume("backlog", consumer);
  const address = node.host.address("", "backlog");
  const usedBefore = await memory();
  for (let n = 0; n < count; ) {
    const { receipt, settled } = confirm();
    for (const end = n + 1000; n < end; n++) node.host.publish(message({ body: body(n) }, address), receipt);
    receipt.seal();
    await settled;
  }
  // 100 MB of content: what the queue holds is its cache and 20 bytes a message; the disk is simulated in memory, and is left out
  expect(node.broker.status().queues[0]?.ready).toBe(count);
  const perMessage = ((await memory()) - usedBefore - journalBytes(node) - cacheBytes) / count;
  expect(perMessage).toBeLessThan(100);

  let next = 0;
  consumer.deliver = ({ content, redelivered }) => {
    if (content.toString() !== body(next) || redelivered) throw new Error(`out of order at ${next}`);
    next++;
  };
  consumer.room = 1;
  await node.host.cancel("backlog", consumer);
  node.host.consume("backlog", consumer).wake();
  while (next < count) await turns(10);
  expect(node.broker.status().queues[0]).toMatchObject({ ready: 0, delivered: count });
  await node.stop();
}, 60_000);
