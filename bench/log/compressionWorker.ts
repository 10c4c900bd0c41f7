/** Compresses as much as a sink may at a time, without pause, while it is told to. */
import { parentPort } from "node:worker_threads";
import { compress } from "../../connectors/formats/parquet/compression.ts";
import { Random } from "../../src/base/random.ts";

const BODY_BYTES = 256 * 1024;
/** More than may run at once. */
const JOBS = 8;

const random = new Random(1);
const body = Buffer.from(Array.from({ length: BODY_BYTES }, () => 97 + random.below(16)));
const told = { compresses: false };
let running: Promise<unknown> = Promise.resolve();

async function job(): Promise<void> {
  while (told.compresses) await compress(body, "zstd");
}

parentPort?.on("message", (now: boolean) => {
  told.compresses = now;
  const before = running;
  running = before.then(() => Promise.all(Array.from({ length: JOBS }, job)));
  void (now ? before : before.then(() => running)).then(() => parentPort?.postMessage(now));
});
