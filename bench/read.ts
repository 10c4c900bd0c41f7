/** A partition from its begin to its end, record by record. The limit: the same files' bytes. */
import { open, readdir } from "node:fs/promises";
import path from "node:path";
import type { EmbeddedLog } from "../src/log/contract/embeddedLog.ts";
import type { PartitionDescriptor } from "../src/log/contract/partitionedLog.ts";
import { Receipt } from "../src/record/receipt.ts";
import { RecordCursor } from "../src/record/recordCursor.ts";
import { type BenchPart, measure, type Printer } from "./measure.ts";
import { inFolder, withLog } from "./workspace.ts";

const RECORDS = 300_000;
const VALUE_BYTES = 200;
const READ_BYTES = 1024 * 1024;

async function fill(log: EmbeddedLog): Promise<PartitionDescriptor> {
  const { partitions } = await log.createTopic("t", { partitions: 1, sync: { kind: "never" } });
  const topic = log.topic("t");
  const record = { key: Buffer.from("SFO.JFK"), value: Buffer.alloc(VALUE_BYTES, "x"), headers: [], timestamp: Date.UTC(2001, 0, 1) };
  for (let done = 0; done < RECORDS; done += 1_000) {
    await new Promise<void>((resolve) => {
      const receipt = new Receipt(() => resolve());
      for (let n = 0; n < 1_000; n++) topic?.append(0, record, receipt);
      receipt.seal();
    });
  }
  return partitions[0] as PartitionDescriptor;
}

async function segmentFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true });
  return names.filter((name) => name.endsWith(".log")).map((name) => path.join(folder, name));
}

async function readPlainly(files: readonly string[], into: Buffer): Promise<void> {
  for (const name of files) {
    const file = await open(name, "r");
    while ((await file.read(into, 0, into.length)).bytesRead > 0);
    await file.close();
  }
}

export const read: BenchPart = {
  name: "read",
  run: (print: Printer) =>
    inFolder((folder) =>
      withLog(folder, async (log) => {
        const descriptor = await fill(log);
        const files = await segmentFiles(folder);
        const into = Buffer.allocUnsafe(READ_BYTES);
        const limit = await measure(RECORDS, () => readPlainly(files, into));
        const reader = await log.openReader(descriptor);
        const end = reader.highWatermark();
        const measured = await measure(RECORDS, async () => {
          let records = 0;
          for (let offset = 0; offset < end; ) {
            const cursor = new RecordCursor(await reader.read(offset, READ_BYTES));
            while (cursor.next()) {
              offset = cursor.offset + 1;
              records++;
            }
          }
          if (records !== RECORDS) throw new Error(`${records} records were read instead of ${RECORDS}`);
        });
        await reader.close();
        print.line("read: batches checked, records walked", measured, { name: "plain file read", measured: limit });
      }),
    ),
};
