import { onTestFinished } from "vitest";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
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
