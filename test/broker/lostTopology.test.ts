/** A topology that is gone, or older than the journal: what the journal holds for a queue that is gone goes to no other queue. */
import { describe, expect, test } from "vitest";
import type { MillraceError } from "../../src/base/errors.ts";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { confirm, message } from "./message.ts";
import { BrokerNode } from "./node.ts";

const topology = "/data/topology";

async function publish(node: BrokerNode, key: string, body: string): Promise<void> {
  const { receipt, settled } = confirm();
  node.host.publish(message({ key, body }), receipt);
  receipt.seal();
  await settled;
}

async function bodiesOf(node: BrokerNode, queue: string): Promise<string[]> {
  const bodies: string[] = [];
  for (;;) {
    const got = await node.host.get(queue, true, node);
    if (got === undefined) return bodies;
    bodies.push(Buffer.from(got.delivery.content).toString().trim());
  }
}

/** The process ends, what is to become of the topology becomes of it, and the next process starts. */
async function startWithout(node: BrokerNode, how: "stop" | "kill", topologyBefore?: Buffer): Promise<BrokerNode> {
  if (how === "stop") await node.stop();
  const disk = (node.fileSystem as SimulatedFileSystem).kill();
  for (const file of disk.files("/data").filter((name) => name.startsWith(topology))) await disk.removeFile(file);
  if (topologyBefore !== undefined) {
    const file = await disk.open(topology, "create");
    await file.write(topologyBefore, 0, topologyBefore.length, 0);
    await file.close();
  }
  return node.startOn(disk);
}

test("a catalog that is gone keeps a node with topics from starting, and the hint does not make it worse", async () => {
  const node = await BrokerNode.start({ seed: 3 });
  await node.queue("flights", { "x-queue-type": "stream" });
  await node.stop();
  const disk = (node.fileSystem as SimulatedFileSystem).kill();
  for (const file of disk.files("/data").filter((name) => name.startsWith("/data/catalog"))) await disk.removeFile(file);
  const refusal = await node.startOn(disk).catch((error: unknown) => error as MillraceError);
  expect(refusal).toMatchObject({ code: "TOPIC_MISSING", hint: expect.stringContaining("from one backup") as string });
});

test("a topic whose topology is gone is declared again, and has its records", async () => {
  let node = await BrokerNode.start({ seed: 4 });
  const args = { "x-queue-type": "stream", "x-partitions": 2 };
  await node.queue("flights", args);
  for (let n = 0; n < 20; n++) await publish(node, "flights", `${n}`);
  node = await startWithout(node, "stop");
  expect(node.broker.status().topics).toEqual([]);
  await node.queue("flights", args);
  const [topic] = node.broker.status().topics;
  expect(topic?.partitions.reduce((sum, { endOffset }) => sum + endOffset, 0)).toBe(20);
  await node.stop();
});

const small = { seed: 5, journalFileBytes: 1 << 13, journalBytesMax: 1 << 15, diskReserveBytes: 0 } as const;

describe.each(["stop", "kill"] as const)("after a %s a topology that is gone", (how) => {
  test("gives nobody's messages to a new queue, which keeps its own", async () => {
    let node = await BrokerNode.start({ seed: 1 });
    await node.queue("salaries");
    for (let n = 0; n < 20; n++) await publish(node, "salaries", `secret ${n}`);
    node = await startWithout(node, how);
    expect(node.errors).toEqual([expect.stringContaining("the journal is newer than the topology")]);
    await node.queue("public");
    await publish(node, "public", "hello");
    node = await node.kill();
    expect(node.errors).toEqual([]);
    expect(await bodiesOf(node, "public")).toEqual(["hello"]);
    await node.stop();
  });

  test("not even those that were moved out of the journal's files", async () => {
    let node = await BrokerNode.start(small);
    await node.queue("salaries");
    for (let n = 0; n < 300; n++) await publish(node, "salaries", `secret ${n}`.padEnd(300));
    expect(node.journal.stats.segments).toBeGreaterThan(0);
    node = await startWithout(node, how);
    await node.queue("public");
    await publish(node, "public", "hello");
    node = await node.kill();
    expect(await bodiesOf(node, "public")).toEqual(["hello"]);
    await node.stop();
  });

  test("and a new queue is not taken for one of the many that came and went", async () => {
    let node = await BrokerNode.start({ seed: 1 });
    await node.queue("kept");
    for (let n = 0; n < 300; n++) {
      await node.queue(`reply ${n}`);
      await publish(node, `reply ${n}`, "answered");
      await node.host.deleteQueue(`reply ${n}`, { ifUnused: false, ifEmpty: false }, node);
    }
    node = await startWithout(node, how);
    // as many as there were: they would get all the numbers again
    for (let n = 0; n < 300; n++) await node.queue(`new ${n}`);
    for (let n = 0; n < 300; n++) await publish(node, `new ${n}`, `for ${n}`);
    node = await node.kill();
    for (let n = 0; n < 300; n++) expect(await bodiesOf(node, `new ${n}`), `new ${n}`).toEqual([`for ${n}`]);
    await node.stop();
  });

  test("which is an older one instead has its own messages still, and no others", async () => {
    let node = await BrokerNode.start({ seed: 2 });
    await node.queue("old");
    await publish(node, "old", "kept");
    const before = await (node.fileSystem as SimulatedFileSystem).readFile(topology);
    for (let n = 0; n < 300; n++) await node.queue(`secret ${n}`);
    for (let n = 0; n < 300; n++) await publish(node, `secret ${n}`, "secret");
    node = await startWithout(node, how, before);
    for (let n = 0; n < 300; n++) await node.queue(`new ${n}`);
    await publish(node, "new 299", "hello");
    node = await node.kill();
    expect(await bodiesOf(node, "old")).toEqual(["kept"]);
    for (let n = 0; n < 299; n++) expect(await bodiesOf(node, `new ${n}`)).toEqual([]);
    expect(await bodiesOf(node, "new 299")).toEqual(["hello"]);
    await node.stop();
  });
});
