/** A disk that fills up: whoever is refused has nothing anywhere, and what the node itself needs still fits. */
import { expect, test } from "vitest";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { until } from "../support/until.ts";
import { TestConsumer } from "./consumer.ts";
import { confirm, type MessageOptions, message } from "./message.ts";
import { BrokerNode, turns } from "./node.ts";

const reserveBytes = 64 * 1024 * 1024;
const diskOf = (node: BrokerNode): SimulatedFileSystem => node.fileSystem as SimulatedFileSystem;

/** The file system is asked again each time, and what failed is tried again at once. */
function restlessClock(): Clock {
  let ms = 0;
  return { ...systemClock, monotonicMs: () => (ms += 2000), after: (_ms, then) => systemClock.after(1, then) };
}

/** @returns "confirmed"; or the code of the error, and whether the publish itself threw it */
async function publish(node: BrokerNode, options: MessageOptions): Promise<string> {
  const { receipt, settled } = confirm();
  const code = (error: unknown): string => (error as { code: string }).code;
  try {
    node.host.publish(message(options), receipt);
  } catch (error) {
    return `refused ${code(error)}`;
  } finally {
    receipt.seal();
  }
  return settled.then(
    () => "confirmed",
    (error: unknown) => `failed ${code(error)}`,
  );
}

test("a message that a topic refuses is in no queue either, however often its publisher tries", async () => {
  const node = await BrokerNode.start({ clock: restlessClock() });
  await node.exchange("both", "fanout");
  await node.queue("q");
  await node.queue("first", { "x-queue-type": "stream" });
  await node.queue("last", { "x-queue-type": "stream" });
  for (const name of ["q", "first", "last"]) await node.host.bindQueue(name, "both", "", {}, node);
  const consumer = new TestConsumer({ noAck: true });
  node.host.consume("q", consumer);
  expect(await publish(node, { exchange: "both", body: "taken" })).toBe("confirmed");

  diskOf(node).limitDisk(diskOf(node).usedBytes() + 1000);
  // it finds out while it writes: nobody knows then
  expect(await publish(node, { exchange: "both", body: "in flight" })).toBe("failed LOG_DISK_FULL");
  for (let n = 0; n < 3; n++) expect(await publish(node, { exchange: "both", body: "refused" })).toBe("refused LOG_DISK_FULL");
  await turns();
  expect(consumer.bodies).toEqual(["taken", "in flight"]);
  expect(node.broker.status().queues).toMatchObject([{ name: "q", published: 2 }]);
  diskOf(node).limitDisk(diskOf(node).usedBytes() + 2 * reserveBytes); // a stop writes to the topology
  await node.stop();
});

test("a message that the queues refuse is in no topic either", async () => {
  const node = await BrokerNode.start();
  await node.exchange("both", "fanout");
  await node.queue("q");
  await node.queue("s", { "x-queue-type": "stream" });
  for (const name of ["q", "s"]) await node.host.bindQueue(name, "both", "", {}, node);
  const larger = "x".repeat(1 << 19); // than what the journal takes
  expect(await publish(node, { exchange: "both", body: larger })).toMatch("refused");
  expect(node.broker.status()).toMatchObject({ queues: [{ published: 0 }], topics: [{ partitions: [{ endOffset: 0 }] }] });
  await node.stop();
});

test("queues leave the reserve of the disk to what makes room: declaring and deleting go on", async () => {
  const node = await BrokerNode.start({ clock: restlessClock() });
  await node.queue("q");
  const disk = diskOf(node);
  disk.limitDisk(disk.usedBytes() + reserveBytes + 4 * 1024 * 1024);
  const filled = async (): Promise<string> => {
    for (;;) {
      const answer = await publish(node, { key: "q", body: "x".repeat(100_000) });
      if (answer !== "confirmed") return answer;
      await turns();
    }
  };
  expect(await filled()).toMatch("JOURNAL_FULL");
  expect(await disk.freeBytes()).toBeGreaterThanOrEqual(reserveBytes);
  await node.queue("late");
  await node.queue("late stream", { "x-queue-type": "stream" });
  disk.limitDisk(disk.usedBytes() + 2 * reserveBytes);
  const published = (): Promise<string> => publish(node, { key: "q", body: "there is room again" });
  await until("the queues take messages again", async () => (await published()) === "confirmed");
  await node.stop();
});
