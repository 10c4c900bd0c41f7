/** `node compressionChild.js <effort>`: prints the p99 of a synced append in ms, while its worker rests and while it compresses. */
import { Worker } from "node:worker_threads";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { inFolder, withLog } from "../workspace.ts";
import { batchOf, KiB } from "./batches.ts";
import { percentile, timed } from "./rounds.ts";

/** Resting and compressing take turns, so that both see the same machine. */
const TURNS = 12;
const APPENDS_A_TURN = 250;

const effort = Number(process.argv[2]);
const worker = new Worker(new URL("./compressionWorker.js", import.meta.url));

/** Resolves when it does what it was told. */
function tell(compresses: boolean): Promise<void> {
  return new Promise((resolve) => {
    worker.once("message", () => resolve());
    worker.postMessage(compresses);
  });
}

await inFolder((folder) =>
  withLog(folder, async (log) => {
    await log.createTopic("t", { sync: { kind: "always" } });
    const topic = log.topic("t") as EmbeddedTopic;
    const { batch } = batchOf(100, 4 * KiB);
    const times: { readonly quiet: number[]; readonly busy: number[] } = { quiet: [], busy: [] };
    for (let turn = 0; turn < TURNS * effort; turn++) {
      const busy = turn % 2 === 1;
      await tell(busy);
      for (let n = 0; n < APPENDS_A_TURN; n++) (busy ? times.busy : times.quiet).push(await timed(() => topic.appendBatch(0, batch)));
    }
    console.log(JSON.stringify({ quietMs: percentile(times.quiet, 99), busyMs: percentile(times.busy, 99) }));
  }),
);
await worker.terminate();
