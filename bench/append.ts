/** Records into a partition, with a receipt a turn as a publisher's channel has. The limit: the same bytes written and synced. */
import { open } from "node:fs/promises";
import path from "node:path";
import type { SyncPolicy } from "../src/log/contract/partitionedLog.ts";
import { Receipt } from "../src/record/receipt.ts";
import { type BenchPart, type Measured, measure, type Printer } from "./measure.ts";
import { inFolder, withLog } from "./workspace.ts";

const RECORDS = 100_000;
const RECORDS_A_TURN = 500;
/** What a publisher with a window of about 4,000 keeps in flight. */
const TURNS_IN_FLIGHT = 8;
const VALUE_BYTES = 200;

function appendRounds(folder: string, sync: SyncPolicy): Promise<Measured> {
  return withLog(folder, async (log) => {
    await log.createTopic("t", { partitions: 1, sync });
    const topic = log.topic("t");
    if (topic === undefined) throw new Error("the topic is gone");
    const record = { key: Buffer.from("SFO.JFK"), value: Buffer.alloc(VALUE_BYTES, "x"), headers: [], timestamp: Date.UTC(2001, 0, 1) };
    return measure(RECORDS, async () => {
      const inFlight: Promise<void>[] = [];
      for (let done = 0; done < RECORDS; done += RECORDS_A_TURN) {
        inFlight.push(
          new Promise((resolve, reject) => {
            const receipt = new Receipt((failure) => (failure === undefined ? resolve() : reject(failure)));
            for (let n = 0; n < RECORDS_A_TURN; n++) topic.append(0, record, receipt);
            receipt.seal();
          }),
        );
        if (inFlight.length === TURNS_IN_FLIGHT) await inFlight.shift();
        else await new Promise((resolve) => setImmediate(resolve));
      }
      await Promise.all(inFlight);
    });
  });
}

/** A write as large as all that is in flight at a time, then fdatasync: as good as a group commit can be. */
async function plainRounds(folder: string, sync: boolean): Promise<Measured> {
  const file = await open(path.join(folder, "plain"), "w");
  const commit = Buffer.alloc(RECORDS_A_TURN * TURNS_IN_FLIGHT * VALUE_BYTES, "x");
  try {
    return await measure(RECORDS, async () => {
      for (let at = 0; at < RECORDS * VALUE_BYTES; at += commit.length) {
        await file.write(commit, 0, commit.length, at);
        if (sync) await file.datasync();
      }
    });
  } finally {
    await file.close();
  }
}

export const append: BenchPart = {
  name: "append",
  async run(print: Printer) {
    for (const kind of ["always", "never"] as const) {
      const limit = await inFolder((folder) => plainRounds(folder, kind === "always"));
      const measured = await inFolder((folder) => appendRounds(folder, { kind }));
      const name = kind === "always" ? "append: acknowledged when synced" : "append: without sync";
      print.line(name, measured, { name: kind === "always" ? "plain write and fdatasync" : "plain write", measured: limit });
    }
  },
};
