import { MessageChannel } from "node:worker_threads";
import { onTestFinished } from "vitest";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { connectLog } from "../../src/log/remote/connectLog.ts";
import { serveLog } from "../../src/log/remote/serveLog.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { partitionedLogConformance } from "./conformance.ts";
import { logOptions, temporaryFolder } from "./support.ts";

partitionedLogConformance("the embedded log", async () => {
  const log = await openEmbeddedLog(logOptions(await temporaryFolder()));
  onTestFinished(() => log.close());
  return log;
});

partitionedLogConformance("the embedded log with segments of a few batches", async () => {
  const defaults = { partitions: 1, sync: { kind: "always" }, segmentBytes: 300, maxMessageBytes: 1 << 20 } as const;
  const log = await openEmbeddedLog(logOptions(await temporaryFolder(), { defaults }));
  onTestFinished(() => log.close());
  return log;
});

partitionedLogConformance("the log of another thread, over a port", async () => {
  const log = await openEmbeddedLog(logOptions(await temporaryFolder()));
  const { port1, port2 } = new MessageChannel();
  serveLog(log, port1);
  const remote = connectLog(port2, nodeFileSystem);
  onTestFinished(async () => {
    port2.close();
    await log.close();
  });
  return remote;
});

partitionedLogConformance("the embedded log on a simulated disk", async () => {
  const fileSystem = new SimulatedFileSystem({ seed: 7 });
  const log = await openEmbeddedLog(logOptions("/data", { fileSystem }));
  onTestFinished(() => log.close());
  return log;
});
