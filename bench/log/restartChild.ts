/**
 * `node restartChild.js topic|queue|many <folder>`: opens what is there, reads and writes once, says a `VictimReport`, and goes on writing until
 * it is killed.
 */
import { readdirSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { Address } from "../../src/record/address.ts";
import { Receipt } from "../../src/record/receipt.ts";
import { withLog } from "../workspace.ts";
import { appendBatches, batchOf, GB, KiB, TOPIC } from "./batches.ts";
import { type BenchBroker, declareQueues, messageTo, openBenchBroker } from "./brokers.ts";
import { publishAll } from "./publishing.ts";
import type { VictimKind, VictimReport } from "./victim.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
const programs: Readonly<Record<VictimKind, () => Promise<void>>> = { topic, queue, many };
const [, , kind, folder = ""] = process.argv;

const bytesBefore = bytesInUse();
const openedAt = performance.now();
await programs[kind as VictimKind]();

function bytesInUse(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function ready(): void {
  const [readyMs, processMs] = [performance.now() - openedAt, performance.now()];
  const handles = readdirSync("/proc/self/fd").length;
  console.log(JSON.stringify({ readyMs, processMs, bytes: bytesInUse() - bytesBefore, handles } satisfies VictimReport));
}

async function readAndAppend(log: EmbeddedLog): Promise<() => Promise<void>> {
  const topic = log.topic(TOPIC) as EmbeddedTopic;
  const reader = await log.openReader(topic.description.partitions[0] as never);
  const { batch } = batchOf(1024, 16 * KiB);
  await reader.read(Math.floor(reader.highWatermark() / 2), batch.length);
  await topic.appendBatch(0, batch);
  return () => appendBatches(topic, batch, Number.POSITIVE_INFINITY);
}

async function getAndPublish(bench: BenchBroker, address: Address): Promise<void> {
  const first = await bench.host.get(address.routingKey, false, bench);
  if (first === undefined) throw new Error("what was parked is gone");
  first.queue.acknowledge(first.delivery.offset);
  await new Promise<void>((resolve, reject) => {
    const receipt = new Receipt((failure) => (failure === undefined ? resolve() : reject(failure)));
    bench.host.publish(messageTo(address, Buffer.alloc(1024)), receipt);
    receipt.seal();
  });
}

function topic(): Promise<void> {
  return withLog(folder, async (log) => {
    const goOn = await readAndAppend(log);
    ready();
    await goOn();
  });
}

async function queue(): Promise<void> {
  const bench = await openBenchBroker(folder);
  const [address] = await declareQueues(bench.host, 1, bench);
  if (address === undefined) throw new Error("there is no queue");
  await getAndPublish(bench, address);
  ready();
  for (;;) await publishAll(bench, [address], GB);
}

/** Topics and queues, all of which are there already. */
async function many(): Promise<void> {
  const bench = await openBenchBroker(folder);
  const address = bench.host.address("", "q0");
  const goOn = await readAndAppend(bench.log);
  await getAndPublish(bench, address);
  ready();
  await Promise.all([goOn(), publishAll(bench, [address], Number.POSITIVE_INFINITY)]);
}
