/** Appends without a sync, on one thread: what is checked and copied is all that they cost. The limit: the same writes alone. */
import { open } from "node:fs/promises";
import path from "node:path";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { Receipt } from "../../src/record/receipt.ts";
import { inFolder, withLog } from "../workspace.ts";
import { appendBatches, batchOf, MiB, recordOf } from "./batches.ts";
import { inTurns, medianOf, timed } from "./rounds.ts";
import { cpuEach, megabytesPerSecond, perSecond, type Row, type TableOptions } from "./row.ts";

const BATCHES_A_ROUND = 128;
const ROUNDS = 5;
const ONE_BY_ONE_A_TURN = 1000;
const MIB_S_LEAST = 250;
const RECORDS_S_LEAST = 1_000_000;

const withTopic = <T>(use: (topic: EmbeddedTopic, folder: string) => Promise<T>): Promise<T> =>
  inFolder((folder) =>
    withLog(folder, async (log) => {
      await log.createTopic("t", { sync: { kind: "never" } });
      return use(log.topic("t") as EmbeddedTopic, folder);
    }),
  );

function rawAppend(valueBytes: number, effort: number) {
  const { batch, records } = batchOf(valueBytes, MiB);
  const count = BATCHES_A_ROUND * effort;
  return withTopic(async (topic, folder) => {
    const file = await open(path.join(folder, "plain"), "w");
    let at = 0;
    const plain = async (): Promise<void> => {
      for (let n = 0; n < count; n++, at += batch.length) await file.write(batch, 0, batch.length, at);
    };
    const rounds = await inTurns(
      ROUNDS,
      () => timed(() => appendBatches(topic, batch, count)),
      () => timed(plain),
    );
    await file.close();
    return { ...rounds, bytes: count * batch.length, records: count * records };
  });
}

function oneByOne(valueBytes: number, effort: number): Promise<number> {
  const record = recordOf(valueBytes);
  return withTopic((topic) =>
    medianOf(ROUNDS, () =>
      timed(async () => {
        for (let turn = 0; turn < 300 * effort; turn++) {
          await new Promise<void>((resolve) => {
            const receipt = new Receipt(() => resolve());
            for (let n = 0; n < ONE_BY_ONE_A_TURN; n++) topic.append(0, record, receipt);
            receipt.seal();
          });
        }
      }),
    ),
  );
}

export async function appends({ effort }: TableOptions, tell: (row: Row) => void): Promise<void> {
  const large = await rawAppend(1024, effort);
  tell({
    name: "append 1 KiB records in 1 MiB batches, never synced",
    value: `${megabytesPerSecond(large.bytes, large.ms)}, ${megabytesPerSecond(large.bytes, large.cpuMs)} of CPU`,
    limit: `${megabytesPerSecond(large.bytes, large.peerMs)} plain write`,
    reached: large.bytes / large.ms / 1000,
    target: MIB_S_LEAST,
    bound: "least",
    unit: "MB/s",
  });
  const small = await rawAppend(100, effort);
  tell({
    name: "append 100 B records in 1 MiB batches, never synced",
    value: `${perSecond(small.records, small.ms, "records")}, ${cpuEach(small.cpuMs, small.records, "record")}`,
    limit: `${perSecond(small.records, small.peerMs, "records")} plain write`,
    reached: (small.records / small.ms) * 1000,
    target: RECORDS_S_LEAST,
    bound: "least",
    unit: "records/s",
  });
  const count = 300 * effort * ONE_BY_ONE_A_TURN;
  const ms = await oneByOne(100, effort);
  tell({
    name: "  the same records one by one, encoded by the log",
    value: perSecond(count, ms, "records"),
    reached: (count / ms) * 1000,
    target: RECORDS_S_LEAST,
    bound: "least",
    unit: "records/s",
  });
}
