import { MessageChannel } from "node:worker_threads";
import { onTestFinished } from "vitest";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { PartitionedLog } from "../../src/log/contract/partitionedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { connectLog } from "../../src/log/remote/connectLog.ts";
import { serveLog } from "../../src/log/remote/serveLog.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { partitionedLogConformance, type Transact } from "./conformance.ts";
import { logOptions, temporaryFolder } from "./support.ts";
import { end, producerBatch } from "./transactionSupport.ts";

/** The embedded logs that the portable ones stand for. */
const embedded = new WeakMap<PartitionedLog, EmbeddedLog>();
const sequences = new WeakMap<PartitionedLog, number>();

const transact: Transact = async (log, values, outcome) => {
  const topic = (embedded.get(log) ?? (log as EmbeddedLog)).topic("events") as EmbeddedTopic;
  let sequence = sequences.get(log) ?? 0;
  for (const value of values) await topic.appendBatch(0, producerBatch([value], { id: 7, epoch: 0, sequence: sequence++ }, true));
  sequences.set(log, sequence);
  if (outcome !== "open") await end(topic, outcome, 7);
};

partitionedLogConformance(
  "the embedded log",
  async () => {
    const log = await openEmbeddedLog(logOptions(await temporaryFolder()));
    onTestFinished(() => log.close());
    return log;
  },
  transact,
);

partitionedLogConformance(
  "the embedded log with segments of a few batches",
  async () => {
    const defaults = { partitions: 1, sync: { kind: "always" }, segmentBytes: 300, maxMessageBytes: 1 << 20 } as const;
    const log = await openEmbeddedLog(logOptions(await temporaryFolder(), { defaults }));
    onTestFinished(() => log.close());
    return log;
  },
  transact,
);

partitionedLogConformance(
  "the log of another thread, over a port",
  async () => {
    const log = await openEmbeddedLog(logOptions(await temporaryFolder()));
    const { port1, port2 } = new MessageChannel();
    serveLog(log, port1);
    const remote = connectLog(port2, nodeFileSystem);
    onTestFinished(async () => {
      port2.close();
      await log.close();
    });
    embedded.set(remote, log);
    return remote;
  },
  transact,
);

partitionedLogConformance(
  "the embedded log on a simulated disk",
  async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 7 });
    const log = await openEmbeddedLog(logOptions("/data", { fileSystem }));
    onTestFinished(() => log.close());
    return log;
  },
  transact,
);
