/** What a start over damage relies on beside the batches, and how much it reads. */
import { expect, test } from "vitest";
import type { MillraceError } from "../../src/base/errors.ts";
import type { File } from "../../src/base/fileSystem.ts";
import { silentLogger } from "../../src/base/logger.ts";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { RecoveryWalk } from "../../src/log/embedded/partition/recoveryWalk.ts";
import { SearchBudget } from "../../src/log/embedded/segment/lookalikes.ts";
import { dumpLog } from "../../src/log/tools/dumpLog.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { BATCH_HEADER_BYTES } from "../../src/record/batchHeader.ts";
import { markBatch } from "../../src/record/batchMark.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { type Batch, batchesOf, expected, file, killed, overwrite, served, start } from "./killedPartition.ts";
import { logOptions, producer, readFrom, record, smallDefaults, valuesOf } from "./support.ts";
import { batchesFrom, end, producerBatch } from "./transactionSupport.ts";

test("deleted records stay deleted when the last one of them is damaged, and its offset is not given again", async () => {
  const node = await killed();
  const endOffset = node.values.length;
  // killed when the catalog knew it, and before the segment was removed
  const { catalog } = node.options;
  const entry = catalog.entries.get("partition:t-0") as { readonly start: number };
  await catalog.change(new Map([["partition:t-0", { ...entry, start: endOffset }]]));
  node.fileSystem.flip(file, (node.batches.at(-1) as Batch).position + 70, 4);
  const log = await start(node);
  const topic = log.topic("t") as EmbeddedTopic;
  expect([topic.startOffset(0), topic.endOffset(0)]).toEqual([endOffset, endOffset]);
  expect(node.errors.join()).toContain(`to ${endOffset - 1} are damaged; nothing lies behind them.`);
  await log.append({ name: "m", epoch: 0 }, "t", 0, 0, [record("new")]);
  expect(topic.endOffset(0)).toBe(endOffset + 1);
  await log.close();
});

test("what is bad at the end of an older segment is logged also when a client's bytes in it make unclear where it goes on", async () => {
  const node = await killed();
  let log = await start(node);
  const base = node.values.length;
  const invented = encodeBatch([record("invented")], { baseOffset: base + 1 });
  markBatch(invented, 0, false);
  await log.append({ name: "hostile", epoch: 0 }, "t", 0, 0, [record("", { value: invented }), record("too")]);
  node.fileSystem = node.fileSystem.kill();
  const { position, end: nextBase } = batchesOf(node.fileSystem.peek(file) as Buffer).at(-1) as Batch;
  node.fileSystem.flip(file, (node.fileSystem.peek(file) as Buffer).length - 1, 1);
  const next = file.replace(/\d+\.log$/, String(nextBase).padStart(20, "0"));
  for (const ending of [".log", ".index", ".timeindex"]) await (await node.fileSystem.open(next + ending, "create")).close();
  log = await start(node);
  const told = node.errors.find((error) => error.includes(`${file} at byte ${position}`));
  expect(told).toContain(`Offsets ${base} to ${nextBase - 1} are damaged; what lies behind them is served.`);
  await log.append({ name: "m", epoch: 0 }, "t", 0, 0, [record("new")]);
  expect(await served(log)).toEqual(expected([...node.values, "", "too", "new"], [base, nextBase, position]));
  await log.close();
});

/** Killed when all of this was synced at once and some of it deleted, which is all that the catalog knows of it. */
async function syncedAtOnce(values: readonly (string | Buffer)[], flushes: "one flush" | "several flushes", deletedTo: number) {
  const fileSystem = new SimulatedFileSystem({ seed: 1, turnsMax: 0 });
  const defaults = { ...smallDefaults, sync: { kind: "interval", ms: 60_000 } as const };
  const options = logOptions("/data", { fileSystem, logger: silentLogger, diskReserveBytes: 0, defaults });
  const log = await openEmbeddedLog(options);
  await log.createTopic("t");
  const appended: Promise<unknown>[] = [];
  for (const [i, value] of values.entries()) {
    appended.push(log.append(producer, "t", 0, i, [record("", { value: Buffer.from(value) })]));
    if (flushes === "several flushes") await appended.at(-1);
  }
  await Promise.all(appended);
  await log.sync("t");
  await log.deleteRecords("t", 0, deletedTo);
  const killed = fileSystem.kill();
  return { options: { ...options, fileSystem: killed }, killed, batches: batchesOf(killed.peek(file) as Buffer) };
}

test.each(["one flush", "several flushes"] as const)(
  "what was synced is served behind a deleted record that is damaged, also if nothing says that it was: %s",
  async (flushes) => {
    const values = Array.from({ length: 12 }, (_, i) => `value ${i}`);
    const { options, killed, batches } = await syncedAtOnce(values, flushes, 6);
    killed.flip(file, (batches.find((batch) => batch.end > 5) as Batch).position + 70, 4);
    const log = await openEmbeddedLog(options);
    expect([log.topic("t")?.startOffset(0), log.topic("t")?.endOffset(0)]).toEqual([6, 12]);
    await log.append(producer, "t", 0, 12, [record("new")]);
    const reader = await log.openReader((log.topic("t") as EmbeddedTopic).description.partitions[0] as never);
    expect(valuesOf(await readFrom(reader, 6))).toEqual([...values.slice(6), "new"]);
    await reader.close();
    await log.close();
  },
);

test("a client's bytes behind damage do not have cut what only the catalog knows as synced", async () => {
  const invented = encodeBatch([record("invented")], { baseOffset: 1000 });
  markBatch(invented, 0, false);
  const values = Array.from({ length: 12 }, (_, i) => (i === 5 ? invented : `value ${i}`));
  const { options, killed, batches } = await syncedAtOnce(values, "several flushes", 9);
  await overwrite(killed, (batches[5] as Batch).position, Buffer.alloc(BATCH_HEADER_BYTES));
  const before = Buffer.from(killed.peek(file) as Buffer);
  const log = await openEmbeddedLog(options);
  expect(killed.peek(file)?.equals(before)).toBe(true);
  await expect(log.append(producer, "t", 0, 12, [record("x")])).rejects.toMatchObject({ code: "LOG_CORRUPT" });
  await log.close();
});

test("an aborted transaction stays aborted when its marker is damaged, and a snapshot behind it knows that it has ended", async () => {
  const fileSystem = new SimulatedFileSystem({ seed: 1, turnsMax: 0 });
  const options = logOptions("/data", { fileSystem, logger: silentLogger, diskReserveBytes: 0, defaults: smallDefaults });
  const log = await openEmbeddedLog(options);
  await log.createTopic("t");
  const topic = log.topic("t") as EmbeddedTopic;
  await topic.appendBatch(0, producerBatch(["nobody", "sees this"], { id: 7, epoch: 0, sequence: 0 }, true));
  await end(topic, "abort", 7);
  await topic.appendBatch(0, producerBatch(["behind"], { id: 8, epoch: 0, sequence: 0 }, false));
  const known = new Map(options.catalog.entries);
  await log.close(); // its snapshot knows that no transaction is open, as one at the begin of the next segment does
  const marker = batchesOf(fileSystem.peek(file) as Buffer)[1] as Batch;
  // the next segment is there, and the catalog does not know it yet
  const offset = 4;
  const next = `/data/t-0/${String(offset).padStart(20, "0")}`;
  for (const ending of [".log", ".index", ".timeindex"]) await (await fileSystem.open(next + ending, "create")).close();
  await fileSystem.syncDirectory("/data/t-0");
  await options.catalog.change(known);
  fileSystem.flip(file, marker.position + 70, 1);
  const again = await openEmbeddedLog({ ...options, fileSystem: fileSystem.kill() });
  const topicAgain = again.topic("t") as EmbeddedTopic;
  await topicAgain.appendBatch(0, producerBatch(["new"], { id: 9, epoch: 0, sequence: 0 }, false));
  const reader = await again.openReader(topicAgain.description.partitions[0] as never, { isolation: "read_committed" });
  expect((await batchesFrom(reader, marker.end)).join("; ")).toContain("new");
  expect((await batchesFrom(reader, 0).catch(async () => [String(await reader.read(0, 1))])).join()).not.toContain("nobody");
  await reader.close();
  await again.close();
});

test("a client's bytes with the offset of the very batch that they came in are taken for none by anybody: a start and a load agree", async () => {
  const node = await killed();
  let log = await start(node);
  const base = node.values.length;
  const opening = producerBatch(["invented"], { id: 99, epoch: 0, sequence: 0 }, true);
  opening.writeBigInt64BE(BigInt(base), 0);
  markBatch(opening, 0, false);
  await log.append({ name: "hostile", epoch: 0 }, "t", 0, 0, [record("", { value: opening })]);
  await log.append({ name: "n", epoch: 0 }, "t", 0, 0, [record("behind")]);
  node.fileSystem = node.fileSystem.kill();
  const { position, end: next } = batchesOf(node.fileSystem.peek(file) as Buffer).at(-2) as Batch;
  await overwrite(node.fileSystem, position, Buffer.alloc(BATCH_HEADER_BYTES));
  log = await start(node);
  expect(await served(log)).toEqual(expected([...node.values, "", "behind"], [base, next, position]));
  expect(await (log.topic("t") as EmbeddedTopic).openTransactions(0)).toEqual([]);
  await log.close();
});

test("what a start reads grows with the segment and with the holes in it, and not with the one for each of the other", async () => {
  // sectors are gone with the headers in them, and only a snapshot says that all of this was synced
  const batches = Array.from({ length: 3000 }, (_, i) => {
    const batch = encodeBatch([record(`value ${i} ${"x".repeat(2000)}`)], { baseOffset: i });
    markBatch(batch, 0, false);
    if (i % 10 === 5) batch.fill(0, 0, 512);
    return batch;
  });
  const bytes = Buffer.concat(batches);
  const counted = countedFile(bytes);
  const walk = new RecoveryWalk(counted.file, file, bytes.length, 0, undefined, batches.length, silentLogger);
  expect((await walk.from({ position: 0, offset: 0 })).offset).toBe(batches.length);
  expect(walk.holes).toBe(300);
  expect(counted.readBytes).toBeLessThan(10 * bytes.length + 300 * (1 << 20)); // half of the segment for each hole would be 900 MiB
});

function countedFile(bytes: Buffer) {
  const refused = (): Promise<never> => Promise.reject(new Error("it was only to read"));
  const counted = { reads: 0, readBytes: 0 };
  const file: File = {
    read: async (buffer, at, length, position) => {
      const read = bytes.copy(buffer, at, position, Math.min(bytes.length, position + length));
      counted.reads++;
      counted.readBytes += read;
      return read;
    },
    write: refused,
    writeSynced: refused,
    sync: refused,
    truncate: refused,
    bytes: async () => bytes.length,
    close: async () => undefined,
  };
  return Object.assign(counted, { file });
}

test("a search over many small batches reads the file in large pieces, not each of them, and its budget is enough for them", async () => {
  // as a segment that nobody syncs is full of them, and none says that those before it were synced
  const batches = Array.from({ length: 20_000 }, (_, i) => {
    const batch = encodeBatch([record("")], { baseOffset: i });
    markBatch(batch, 0, false);
    return batch;
  });
  const bytes = Buffer.concat(batches);
  bytes.writeUInt8(bytes.readUInt8(65) ^ 1, 65);
  const counted = countedFile(bytes);
  const walk = new RecoveryWalk(counted.file, file, bytes.length, 0, undefined, 0, silentLogger);
  const { offset, unclear } = await walk.from({ position: 0, offset: 0 });
  expect([offset, unclear]).toEqual([0, undefined]);
  expect(counted.reads).toBeLessThan(50);
});

test("a search is bounded by how many it checks as well, however small they are; a segment full of small batches is within that", () => {
  const segmentBytes = 256 << 20;
  const budget = new SearchBudget(segmentBytes);
  let checks = 0;
  const check = (): void => {
    for (; checks < segmentBytes; checks++) budget.check(1, 0, false);
  };
  expect(check).toThrow("Too much behind bad bytes");
  const smallest = encodeBatch([record("")], { baseOffset: 0 }).length;
  expect(checks).toBeGreaterThan(segmentBytes / smallest);
});

test("a dump names the damage, and goes on behind it", async () => {
  const { fileSystem, batches } = await killed();
  const { position, bytes, end: next } = batches[4] as Batch;
  fileSystem.flip(file, position + 70, 4);
  const lines: string[] = [];
  await dumpLog(fileSystem, "/data", undefined, (line) => lines.push(line) > 0);
  expect(lines).toHaveLength(1 + batches.length);
  expect(lines[5]).toMatch(new RegExp(`^  at ${position}: .*checksum.* \\(${bytes} bytes to the next whole batch\\)$`));
  expect(lines[6]).toContain(`offsets ${next} to`);
});

test("records are deleted up to, into and over the damage, and its segment goes with them", async () => {
  const node = await killed();
  const { position, base, end: behind } = node.batches[6] as Batch;
  node.fileSystem.flip(file, position + 70, 4);
  let log = await start(node);
  const last = node.values.length;
  await log.append({ name: "m", epoch: 0 }, "t", 0, 0, [record("new")]);
  const firstRead = async (): Promise<unknown> => {
    const reader = await log.openReader((log.topic("t") as EmbeddedTopic).description.partitions[0] as never);
    try {
      return valuesOf(await readFrom(reader, reader.startOffset()))[0];
    } catch (error) {
      return [(error as MillraceError).code, (error as MillraceError).readableFrom];
    } finally {
      await reader.close();
    }
  };
  const steps = [
    [base, ["LOG_CORRUPT", behind]],
    [base + 1, ["LOG_CORRUPT", behind]],
    [behind, node.values[behind]],
    [last, "new"],
  ] as const;
  for (const [offset, expected] of steps) {
    await log.deleteRecords("t", 0, offset);
    for (const how of ["goes on", "is killed"]) {
      expect([how, log.topic("t")?.startOffset(0), await firstRead()]).toEqual([how, offset, expected]);
      if (how === "goes on") {
        node.fileSystem = node.fileSystem.kill();
        log = await start(node);
      }
    }
  }
  expect(node.fileSystem.peek(file)).toBeUndefined();
  await log.close();
  expect((await verifyLog(node.fileSystem, "/data", () => undefined)).problems).toEqual([]);
});
