/**
 * Appends that are confirmed when synced: one in flight, and as many as a Kafka producer has by default. The limit: the same sizes written and
 * synced one after the other at the end of a plain file.
 */
import { open } from "node:fs/promises";
import path from "node:path";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { inFolder, withLog } from "../workspace.ts";
import { batchOf, KiB, MiB } from "./batches.ts";
import { inTurns, timed } from "./rounds.ts";
import { milliseconds, type Row, type TableOptions } from "./row.ts";

/** Many short rounds: the disk changes its pace from second to second. */
const ROUNDS = 41;
const sizes = [
  { bytes: 4 * KiB, appends: 20 },
  { bytes: 40 * KiB, appends: 20 },
  { bytes: 400 * KiB, appends: 8 },
  { bytes: MiB, appends: 4 },
];
const IN_FLIGHT = [1, 5];
const WARM_UP_APPENDS = 10_000;
const RATIO_LEAST = 0.9;

async function synced(bytes: number, appends: number, inFlight: number, rounds: number) {
  const { batch } = batchOf(100, bytes);
  return inFolder((folder) =>
    withLog(folder, async (log) => {
      await log.createTopic("t", { sync: { kind: "always" } });
      const topic = log.topic("t") as EmbeddedTopic;
      await warmUp(log);
      const file = await open(path.join(folder, "plain"), "w");
      let at = 0;
      const plain = async (): Promise<void> => {
        for (let n = 0; n < appends * inFlight; n++, at += batch.length) {
          await file.write(batch, 0, batch.length, at);
          await file.datasync();
        }
      };
      // the log writes the offset into a batch: each in flight has its own memory
      const copies = Array.from({ length: inFlight }, () => Buffer.from(batch));
      const lane = async (copy: Buffer): Promise<void> => {
        for (let n = 0; n < appends; n++) await topic.appendBatch(0, copy);
      };
      const result = await inTurns(
        rounds,
        () => timed(() => Promise.all(copies.map(lane))),
        () => timed(plain),
      );
      await file.close();
      return result;
    }),
  );
}

/** A log that has run for a while: what it does a thousand times a second is compiled. */
async function warmUp(log: EmbeddedLog): Promise<void> {
  await log.createTopic("warm-up", { sync: { kind: "never" } });
  const { batch } = batchOf(100, KiB);
  for (let n = 0; n < WARM_UP_APPENDS; n++) await log.topic("warm-up")?.appendBatch(0, batch);
}

export async function syncedAppends({ effort }: TableOptions, tell: (row: Row) => void): Promise<void> {
  for (const inFlight of IN_FLIGHT) {
    for (const { bytes, appends } of sizes) {
      const { ms, peerMs, ratio } = await synced(bytes, appends, inFlight, ROUNDS * effort);
      tell({
        name: `append ${bytes / KiB} KiB and sync, ${inFlight} in flight`,
        value: `${milliseconds(ms / appends / inFlight)} each`,
        limit: `${milliseconds(peerMs / appends / inFlight)} write + fdatasync`,
        reached: ratio,
        target: RATIO_LEAST,
        bound: "least",
        unit: "ratio",
      });
    }
  }
}
