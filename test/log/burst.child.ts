/** Appends to 600 partitions in one turn, and opens files of its own meanwhile; says what became of both. */
import { closeSync, openSync } from "node:fs";
import path from "node:path";
import { ByteBudget } from "../../src/base/byteBudget.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { openKeyedStore } from "../../src/log/keyedStore.ts";

const directory = process.argv[2] as string;
const [fileSystem, clock, logger] = [nodeFileSystem, systemClock, silentLogger];
const catalog = await openKeyedStore({
  fileSystem,
  clock,
  logger,
  path: path.join(directory, "catalog"),
  name: "catalog",
  formatVersion: 1,
});
const budget = new ByteBudget("pending", 1 << 26);
const log = await openEmbeddedLog({
  directory: path.join(directory, "topics"),
  fileSystem,
  clock,
  logger,
  budget,
  catalog,
  defaults: {},
});
await log.createTopic("t", { partitions: 600 });
const refusedMeanwhile: string[] = [];
const over = new AbortController();
const others = (async () => {
  while (!over.signal.aborted) {
    try {
      closeSync(openSync(process.execPath, "r"));
    } catch (error) {
      refusedMeanwhile.push(String(error));
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
})();
const record = { key: null, value: Buffer.from("x"), headers: [], timestamp: 1 };
const producer = { name: "p", epoch: 0 };
const results = await Promise.allSettled(Array.from({ length: 600 }, (_, partition) => log.append(producer, "t", partition, 0, [record])));
over.abort();
await others;
const failures = results.flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : []));
await log.close();
await catalog.close();
console.log(JSON.stringify({ confirmed: results.length - failures.length, failures, refusedMeanwhile }));
