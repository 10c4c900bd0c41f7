/** A clean stop writes down what the queues have, so that the next start need not read the journal: beside one that does read it. */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { crc32c } from "../../src/base/crc32c.ts";
import { Random } from "../../src/base/random.ts";
import { until } from "../support/until.ts";
import { TestConsumer } from "./consumer.ts";
import { confirm, type MessageOptions, message } from "./message.ts";
import { BrokerNode } from "./node.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "millrace-stop-"));
});
afterEach(() => rm(folder, { recursive: true }));

const stopFile = (directory: string): string => path.join(directory, "journal", "queues.stopped");
const queues = ["plain", "other", "dedupes", "for a while"] as const;

const copyOf = async (from: string, to: string): Promise<string> => {
  await cp(path.join(folder, from), path.join(folder, to), { recursive: true });
  return path.join(folder, to);
};

const startIn = (directory: string): Promise<BrokerNode> =>
  BrokerNode.start({
    directory,
    journalFileBytes: 1 << 14,
    journalBytesMax: 1 << 16,
    indexPageItems: 32,
    runs: { fetchedFirst: 4, fetchedMax: 16, stretchMin: 4 },
  });

async function firstNode(directory: string): Promise<BrokerNode> {
  const node = await startIn(directory);
  await node.exchange("all", "fanout");
  for (const queue of queues) {
    await node.queue(queue, queue === "dedupes" ? { "x-dedupe": 20 } : queue === "for a while" ? { "x-dedupe": "1 h" } : {});
    await node.host.bindQueue(queue, "all", "", {}, node);
  }
  return node;
}

function publish(node: BrokerNode, options: MessageOptions): Promise<void> {
  const { receipt, settled } = confirm();
  node.host.publish(message(options), receipt);
  receipt.seal();
  return settled;
}

/** All that the queues deliver, in their order. */
async function contentsOf(node: BrokerNode): Promise<string[]> {
  const found: string[] = [];
  for (const queue of queues) {
    const consumer = new TestConsumer();
    node.host.consume(queue, consumer);
    await until(`${queue} delivers all`, () => node.broker.status().queues.find(({ name }) => name === queue)?.ready === 0);
    found.push(...consumer.received.map(({ offset, body, redelivered }) => `${queue} ${offset} ${body} ${redelivered}`));
    await node.host.cancel(queue, consumer);
    for (const { offset, queue: handle } of consumer.received) handle.requeue(offset);
  }
  return found;
}

/** Which of the ids are still known: those are not taken a second time. */
async function idsKnown(node: BrokerNode, most: number): Promise<string[]> {
  const known: string[] = [];
  const count = (queue: string): number => node.broker.status().queues.find(({ name }) => name === queue)?.duplicates ?? 0;
  for (const queue of ["dedupes", "for a while"]) {
    for (let id = most - 1; id >= 0; id--) {
      const before = count(queue);
      await publish(node, { key: queue, body: "again", id: `${id}` });
      if (count(queue) > before) known.push(`${queue} ${id}`);
    }
  }
  return known;
}

class Life {
  published = 0;

  constructor(
    readonly random: Random,
    public node: BrokerNode,
  ) {}

  async go(steps: number): Promise<void> {
    const publishing: Promise<void>[] = [];
    for (let step = 0; step < steps; step++) {
      const kind = this.random.below(10);
      if (kind < 6) publishing.push(this.publish());
      else if (kind < 9) await this.take();
      else if (this.random.below(8) === 0) await this.node.host.purgeQueue(this.random.pick(queues), this.node);
      if (publishing.length > 20) await Promise.all(publishing.splice(0));
    }
    await Promise.all(publishing);
  }

  private publish(): Promise<void> {
    const to = this.random.below(3) === 0 ? { exchange: "all" } : { key: this.random.pick(queues) };
    const body = `${this.published}`.padEnd(this.random.pick([5, 100, 400]), ".");
    const persistent = this.random.below(8) > 0;
    const id = `${this.published++}`;
    // of a transient message it is not said whether its id outlives a restart: if it was moved to a segment by then, it does
    return publish(this.node, { ...to, body, persistent, ...(persistent && { id }) });
  }

  /** Acknowledged, given back, or held when the node stops. */
  private async take(): Promise<void> {
    const got = await this.node.host.get(this.random.pick(queues), false, this.node);
    const what = this.random.below(5);
    if (got === undefined || what === 0) return;
    if (what === 1) got.queue.requeue(got.delivery.offset);
    else got.queue.acknowledge(got.delivery.offset);
  }
}

describe("after a clean stop", () => {
  test("a start has of every queue what one has that reads the journal: messages, marks, ids; life after life", {
    timeout: 120_000,
  }, async () => {
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
    console.log(`seed ${seed}`);
    const life = new Life(new Random(seed), await firstNode(path.join(folder, "0")));
    let [taken, moved] = [0, 0];
    // long lives in a row, so that some of what was published moves out of the journal's files
    for (const [round, steps] of [300, 3, 300, 300, 60, 300].entries()) {
      await life.go(steps);
      await life.node.stop();
      const directory = path.join(folder, `${round}`);
      if ((await readdir(path.join(directory, "journal"))).includes("queues.stopped")) taken++;
      if ((await readdir(path.join(directory, "journal"))).some((name) => name.endsWith(".segment"))) moved++;
      const read = await copyOf(`${round}`, "read");
      await copyOf(`${round}`, `${round + 1}`);
      await rm(stopFile(read), { force: true });
      const nodes = [await startIn(directory), await startIn(read)] as const;
      const [told, replayed] = [await contentsOf(nodes[0]), await contentsOf(nodes[1])];
      expect(told, `round ${round}, seed ${seed}`).toEqual(replayed);
      expect(await idsKnown(nodes[0], life.published)).toEqual(await idsKnown(nodes[1], life.published));
      for (const node of nodes) await node.stop();
      await rm(read, { recursive: true });
      life.node = await startIn(path.join(folder, `${round + 1}`));
    }
    await life.node.stop();
    expect(taken).toBeGreaterThan(0);
    expect(moved).toBeGreaterThan(0);
  });

  test("what the stop wrote counts for one start: one after a kill reads the journal", async () => {
    const node = await firstNode(path.join(folder, "node"));
    await publish(node, { exchange: "all", body: "before" });
    await node.stop();
    const stop = await readFile(stopFile(path.join(folder, "node")));
    const next = await startIn(path.join(folder, "node"));
    expect(await readdir(path.join(folder, "node", "journal"))).not.toContain("queues.stopped");
    await publish(next, { exchange: "all", body: "after" });
    const killed = await copyOf("node", "killed");
    await next.stop();
    // and if somebody puts an old one there, it does not fit
    await writeFile(stopFile(killed), stop);
    const last = await startIn(killed);
    expect(await contentsOf(last)).toEqual(queues.flatMap((queue) => [`${queue} 0 before true`, `${queue} 1 after true`]));
    await last.stop();
  });

  test("one that a later release wrote is not guessed at: the start is refused", async () => {
    const node = await firstNode(path.join(folder, "node"));
    await node.stop();
    const file = stopFile(path.join(folder, "node"));
    const stop = await readFile(file);
    stop.writeUInt32LE(stop.readUInt32LE(8) + 1, 8);
    stop.writeUInt32LE(crc32c(stop.subarray(0, -4)), stop.length - 4);
    await writeFile(file, stop);
    await expect(startIn(path.join(folder, "node"))).rejects.toMatchObject({ code: "JOURNAL_TOO_NEW", where: file });
  });

  test("if a bit of it flips it is said, and the journal is read", async () => {
    const node = await firstNode(path.join(folder, "node"));
    for (let n = 0; n < 5; n++) await publish(node, { exchange: "all", body: `${n}`, id: `${n}` });
    await node.stop();
    const stop = await readFile(stopFile(path.join(folder, "node")));
    for (const at of [0, 9, 30, stop.length >> 1, stop.length - 1]) {
      const copy = await copyOf("node", `${at}`);
      const spoiled = Buffer.from(stop);
      spoiled.writeUInt8((stop[at] as number) ^ 4, at);
      await writeFile(stopFile(copy), spoiled);
      const next = await startIn(copy);
      expect(next.errors).toEqual(["what the last stop wrote down of the queues is damaged; the journal is read instead"]);
      expect(await contentsOf(next)).toHaveLength(5 * queues.length);
      await next.stop();
      await rm(copy, { recursive: true });
    }
  });

  test("a message that is damaged by then is found when its turn comes, and the others are delivered", async () => {
    const node = await firstNode(path.join(folder, "node"));
    for (let n = 0; n < 5; n++) await publish(node, { key: "plain", body: `message ${n}` });
    await node.stop();
    const file = path.join(folder, "node", "journal", "000000000001.journal");
    const bytes = await readFile(file);
    bytes.write("M", bytes.indexOf("message 2"), "latin1");
    await writeFile(file, bytes);
    const next = await startIn(path.join(folder, "node"));
    expect(next.errors).toEqual([]);
    expect(await contentsOf(next)).toEqual([0, 1, 3, 4].map((n) => `plain ${n} message ${n} false`));
    expect(next.errors).toEqual(["a message in the journal is damaged and cannot be delivered"]);
    await next.stop();
  });

  test("a purge that has not ended everywhere is no clean stop for the journal, and brings nothing back", async () => {
    const node = await firstNode(path.join(folder, "node"));
    for (let n = 0; n < 400; n++) await publish(node, { key: "plain", body: `${n}`.padEnd(400) });
    const purged = node.host.purgeQueue("plain", node);
    await node.stop();
    await purged.catch(() => undefined);
    const next = await startIn(path.join(folder, "node"));
    const left = (await contentsOf(next)).length;
    await next.stop();
    expect([0, 400]).toContain(left);
    if (
      await purged.then(
        () => true,
        () => false,
      )
    )
      expect(left).toBe(0);
  });
});
