/** Damage in the segment that was written when the process was killed: it costs the batches that it hit, and nothing else. */
import { describe, expect, test } from "vitest";
import { crc32cRange } from "../../src/base/crc32c.ts";
import type { MillraceError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { repairLog } from "../../src/log/tools/repairLog.ts";
import { PartitionTail, type TailStart } from "../../src/log/tools/tailLog.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { encodeBatch, endOffsetOf, records } from "../../src/record/batch.ts";
import { BATCH_HEADER_BYTES, BatchField, CRC_COVERS_FROM } from "../../src/record/batchHeader.ts";
import { markBatch } from "../../src/record/batchMark.ts";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { type Batch, batchesOf, expected, file, type Killed, killed, nothing, overwrite, plan, served, start } from "./killedPartition.ts";
import { producer, record } from "./support.ts";

const problemsOf = async (node: Killed): Promise<unknown[]> =>
  (await verifyLog(node.fileSystem, "/data", nothing)).problems.map(({ kind, file, position }) => [kind, file, position]);

/** Everything but the hole is served after a start, and appends go on. */
async function checkStart(node: Killed, ...hole: readonly [from: number, to: number, position: number]): Promise<void> {
  const log = await start(node);
  await log.append({ name: "new", epoch: 0 }, "t", 0, 0, [record("new")]);
  expect(await served(log)).toEqual(expected([...node.values, "new"], hole));
  await log.close();
}

/** Everything but the holes is served, now and after the next kill and the next loss of power; appends go on; nothing is cut. */
async function checkServed(node: Killed, ...holes: (readonly [from: number, to: number, position: number])[]): Promise<void> {
  const bytes = Buffer.from(node.fileSystem.peek(file) as Buffer);
  expect(await problemsOf(node)).toEqual(holes.map(([, , position]) => ["batch", file, position]));
  let log = await start(node);
  for (const [, , position] of holes) expect(node.errors.join()).toContain(`${file} at byte ${position}`);
  const values = [...node.values];
  for (const how of ["kill", "crash", "close"] as const) {
    expect(await served(log)).toEqual(expected(values, ...holes));
    await log.append({ name: `new ${how}`, epoch: 0 }, "t", 0, 0, [record(how), record(`${how} too`)]);
    values.push(how, `${how} too`);
    expect(await served(log)).toEqual(expected(values, ...holes));
    if (how === "close") await log.close();
    else node.fileSystem = node.fileSystem[how]();
    log = await start(node);
  }
  expect(await served(log)).toEqual(expected(values, ...holes));
  await log.close();
  expect((node.fileSystem.peek(file) as Buffer).equals(bytes)).toBe(true);
  expect(await problemsOf(node)).toEqual(holes.map(([, , position]) => ["batch", file, position]));
  const { fileSystem, options } = node;
  const repaired = await repairLog({ fileSystem, directory: "/data", catalog: options.catalog, progress: nothing, cutDamage: false });
  expect([repaired.done, repaired.left.length]).toEqual([[], holes.length]);
}

describe("one flipped bit in the segment that a killed process wrote", () => {
  test("costs the batch that it is in, wherever it is", async () => {
    const { batches } = await killed();
    const random = new Random(11);
    const large = batches[7] as Batch;
    const all = batches.slice(0, -1);
    // every byte of a header, and some of each batch
    const places = Array.from({ length: BATCH_HEADER_BYTES }, (_, i) => ({ batch: large, byte: i }));
    for (const batch of all) places.push({ batch, byte: random.below(batch.bytes) });
    for (const [i, { batch, byte }] of places.entries()) {
      const bit = byte === BatchField.partitionLeaderEpoch + 3 ? 1 + random.below(7) : random.below(8); // but the one that says what was synced
      const node = await killed();
      node.fileSystem.flip(file, batch.position + byte, 1 << bit);
      const hole = [batch.base, batch.end, batch.position] as const;
      await (i % 6 === 0 ? checkServed(node, hole) : checkStart(node, ...hole)).catch((error) => {
        throw new Error(`bit ${bit} of byte ${byte} of the batch at ${batch.base}: ${error}`, { cause: error });
      });
    }
  });
});

/** Zeros, as a sector that a disk has lost reads. */
const lose = (fileSystem: SimulatedFileSystem, position: number, bytes: number): Promise<void> =>
  overwrite(fileSystem, position, Buffer.alloc(bytes));

describe("more than a bit", () => {
  test("lost sectors cost the batches that they touch, also several of them", async () => {
    const random = new Random(3);
    for (let run = 0; run < 12; run++) {
      const node = await killed();
      const { batches } = node;
      const hit = new Set<Batch>();
      for (let n = 0; n < 1 + (run % 3); n++) {
        const from = random.below((batches.at(-1) as Batch).position - 600);
        await lose(node.fileSystem, from, 1 + random.below(500));
      }
      const now = node.fileSystem.peek(file) as Buffer;
      const whole = await killed();
      const before = whole.fileSystem.peek(file) as Buffer;
      for (const batch of batches) {
        const end = batch.position + batch.bytes;
        if (!now.subarray(batch.position, end).equals(before.subarray(batch.position, end))) hit.add(batch);
      }
      const holes: [number, number, number][] = [];
      for (const batch of batches.filter((one) => hit.has(one))) {
        const last = holes.at(-1);
        if (last !== undefined && last[1] === batch.base) last[1] = batch.end;
        else holes.push([batch.base, batch.end, batch.position]);
      }
      await checkServed(node, ...holes).catch((error) => {
        throw new Error(`run ${run}: ${error}`, { cause: error });
      });
    }
  });

  test("bad bytes at the end that a snapshot knows as synced are not cut, and appends go on behind them", async () => {
    const node = await killed();
    const { options } = node;
    const log = await start(node);
    await log.append({ name: "n", epoch: 0 }, "t", 0, 0, [record("before"), record("too")]);
    await log.close(); // writes a snapshot of the end, and the catalog forgets it
    await options.catalog.change(new Map([["partition:t-0", null]]));
    node.values.push("before", "too");
    const last = batchesOf(node.fileSystem.peek(file) as Buffer).at(-1) as Batch;
    node.fileSystem.flip(file, last.position + 70, 4);
    const again = await start(node);
    expect(await served(again)).toEqual(expected(node.values, [last.base, last.end, last.position]));
    await again.append({ name: "m", epoch: 0 }, "t", 0, 0, [record("after")]);
    expect(await served(again)).toEqual(expected([...node.values, "after"], [last.base, last.end, last.position]));
    await again.close();
  });

  test("what nobody says was synced is a torn end, and cut, as it was; what was synced before it is not", async () => {
    const node = await killed();
    const { batches } = node;
    const [third, last] = [batches[3] as Batch, batches.at(-1) as Batch];
    node.fileSystem.flip(file, third.position + 70, 1);
    node.fileSystem.flip(file, last.position + 70, 1);
    const log = await start(node);
    const values = node.values.slice(0, last.base);
    expect(await served(log)).toEqual(expected(values, [third.base, third.end, third.position]));
    expect(node.fileSystem.peek(file)?.length).toBe(last.position);
    await log.append({ name: "n", epoch: 0 }, "t", 0, 0, [record("after")]);
    expect(await served(log)).toEqual(expected([...values, "after"], [third.base, third.end, third.position]));
    await log.close();
  });
});

describe("who lost something in the damage", () => {
  test("a producer is known by what lies behind it, and may send again what was its last batch", async () => {
    const node = await killed();
    const { batches } = node;
    const log = await start(node);
    for (let i = 0; i < 2; i++) await log.append({ name: "q", epoch: 3 }, "t", 0, i, [record(`q ${i}`)]);
    await log.append(producer, "t", 0, node.values.length, [record("behind")]);
    node.fileSystem = node.fileSystem.kill();
    const all = batchesOf(node.fileSystem.peek(file) as Buffer);
    node.fileSystem.flip(file, (batches[5] as Batch).position + 70, 1);
    node.fileSystem.flip(file, (all.at(-2) as Batch).position + 70, 1); // the last one of q
    const again = await start(node);
    expect(await again.producerState("p", "t", 0)).toEqual({ epoch: 0, nextSequence: node.values.length + 1 });
    expect(await again.producerState("q", "t", 0)).toEqual({ epoch: 3, nextSequence: 1 });
    await expect(again.append({ name: "q", epoch: 3 }, "t", 0, 2, [record("q 2")])).rejects.toMatchObject({
      code: "OUT_OF_ORDER_SEQUENCE",
    });
    for (const i of [0, 1, 2]) await again.append({ name: "q", epoch: 3 }, "t", 0, i, [record(`q ${i}`)]);
    const found = [...(await served(again)).values()];
    expect(["q 0", "q 1", "q 2"].map((value) => found.filter((one) => one === value).length)).toEqual([1, 1, 1]);
    await again.close();
  });

  test("a transaction of which a part is damaged ends as its marker says; without its marker it is open until there is another", async () => {
    const node = await killed();
    const log = await start(node);
    const topic = log.topic("t") as EmbeddedTopic;
    const transactional = (sequence: number, value: string, id: bigint): Promise<unknown> => {
      const batch = encodeBatch([record(value)], { producerId: id, producerEpoch: 0, baseSequence: sequence });
      batch.writeInt16BE(batch.readInt16BE(BatchField.attributes) | 16, BatchField.attributes);
      batch.writeUInt32BE(crc32cRange(batch, CRC_COVERS_FROM, batch.length), BatchField.crc);
      return topic.appendBatch(0, batch);
    };
    const end = (id: bigint, commit: boolean) =>
      topic.endTransaction(0, { producerId: id, epoch: 0, coordinatorEpoch: 0, outcome: commit ? "commit" : "abort" });
    await transactional(0, "aborted, first", 7n);
    await transactional(1, "aborted, second", 7n);
    await end(7n, false);
    await transactional(0, "committed", 8n);
    await end(8n, true);
    await log.append({ name: "n", epoch: 0 }, "t", 0, 0, [record("last")]);
    node.fileSystem = node.fileSystem.kill();
    const [first, , , , marker] = batchesOf(node.fileSystem.peek(file) as Buffer).slice(-6) as Batch[];
    node.fileSystem.flip(file, (first as Batch).position + 70, 1);
    node.fileSystem.flip(file, (marker as Batch).position + 70, 1);
    const again = await start(node);
    const open = (await (again.topic("t") as EmbeddedTopic).openTransactions(0)).map(({ producerId }) => producerId);
    expect(open).toEqual([8n]);
    const committed = async (from: number): Promise<string[]> => {
      const reader = await again.openReader((again.topic("t") as EmbeddedTopic).description.partitions[0] as never, {
        isolation: "read_committed",
      });
      const found: string[] = [];
      for (let next = from; next < reader.highWatermark(); ) {
        const read = await reader.read(next, 5000).catch((error: MillraceError) => error);
        if (read instanceof Error) {
          next = read.readableFrom as number;
          continue;
        }
        for (const { value, offset } of records(read)) if (offset >= next) found.push(String(value));
        next = endOffsetOf(read) as number;
      }
      await reader.close();
      return found;
    };
    expect(await committed((first as Batch).base)).toEqual([]);
    await (again.topic("t") as EmbeddedTopic).endTransaction(0, { producerId: 8n, epoch: 0, coordinatorEpoch: 0, outcome: "commit" });
    expect(await committed((first as Batch).base)).toEqual(["committed", "last"]);
    await again.close();
  });
});

/** A record's value in which lie bytes that are made to look like batches of the log. */
function planted(count: number, make: (i: number) => { offset: number; value: string }): Buffer {
  return Buffer.concat(
    Array.from({ length: count }, (_, i) => {
      const { offset, value } = make(i);
      const batch = encodeBatch([record(value)], { baseOffset: offset });
      markBatch(batch, 0, true);
      return batch;
    }),
  );
}

describe("a client's bytes that are made to look like batches", () => {
  const hostile = async (value: Buffer): Promise<{ node: Killed; batch: Batch }> => {
    const node = await killed();
    const log = await start(node);
    await log.append({ name: "hostile", epoch: 0 }, "t", 0, 0, [record("", { value })]);
    for (const [i, text] of ["behind", "and more"].entries()) await log.append({ name: "n", epoch: 0 }, "t", 0, i, [record(text)]);
    node.fileSystem = node.fileSystem.kill();
    node.values.push(String(value), "behind", "and more");
    const batch = batchesOf(node.fileSystem.peek(file) as Buffer).at(-3) as Batch;
    return { node, batch };
  };

  test("are not taken for any when a bit flips in the batch that they came in, be it in its length", async () => {
    const offset = plan.flat().length;
    const value = planted(30, (i) => ({ offset: offset + 1 + i, value: "invented" }));
    for (let bit = 0; bit < 32; bit++) {
      const { node, batch } = await hostile(value);
      node.fileSystem.flip(file, batch.position + BatchField.length + (bit >>> 3), 1 << (bit & 7));
      await checkStart(node, batch.base, batch.end, batch.position);
    }
    const { node, batch } = await hostile(value);
    node.fileSystem.flip(file, batch.position + 200, 1);
    await checkServed(node, [batch.base, batch.end, batch.position]);
  });

  test("are not taken for any when the write of the batch that they came in was cut short: nothing is made up, and nothing is cut", async () => {
    const offset = plan.flat().length;
    const value = planted(30, (i) => ({ offset: offset + 1 + i, value: "invented" }));
    for (const missing of [1, 10, 1000, 2000]) {
      const node = await killed();
      const log = await start(node);
      await log.append({ name: "hostile", epoch: 0 }, "t", 0, 0, [record("", { value })]);
      node.fileSystem = node.fileSystem.kill();
      const { position, bytes } = batchesOf(node.fileSystem.peek(file) as Buffer).at(-1) as Batch;
      const handle = await node.fileSystem.open(file, "write");
      await handle.truncate(position + bytes - missing);
      await handle.sync();
      await handle.close();
      const again = await start(node);
      expect(again.topic("t")?.endOffset(0)).toBe(offset);
      expect(await served(again)).toEqual(expected(node.values));
      const where = `${file} at byte ${position}`;
      await expect(again.append({ name: "m", epoch: 0 }, "t", 0, 0, [record("x")])).rejects.toMatchObject({ code: "LOG_CORRUPT", where });
      await again.close();
      const { fileSystem, options } = node;
      await repairLog({ fileSystem, directory: "/data", catalog: options.catalog, progress: nothing, cutDamage: true });
      const repaired = await start(node);
      await repaired.append({ name: "m", epoch: 0 }, "t", 0, 0, [record("new")]);
      expect(await served(repaired)).toEqual(expected([...node.values, "new"]));
      await repaired.close();
    }
  });

  test("do not have what was synced cut when the header of the batch that they came in is lost", async () => {
    const value = planted(30, (i) => ({ offset: 1_000_000 + i, value: "invented" }));
    const { node, batch } = await hostile(value);
    await lose(node.fileSystem, batch.position, BATCH_HEADER_BYTES);
    const before = Buffer.from(node.fileSystem.peek(file) as Buffer);
    const log = await start(node);
    expect(node.fileSystem.peek(file)?.equals(before)).toBe(true);
    await expect(log.append({ name: "m", epoch: 0 }, "t", 0, 0, [record("x")])).rejects.toMatchObject({ code: "LOG_CORRUPT" });
    await log.close();
  });

  test("do not keep a start busy: of too many that are none the partition is left as it is, can be read up to there, and says so", async () => {
    const log = await start(await killed());
    await log.close();
    const header = planted(1, () => ({ offset: 1000, value: "x" })).subarray(0, BATCH_HEADER_BYTES);
    const value = Buffer.alloc(900_000);
    for (let at = 0; at + BATCH_HEADER_BYTES <= value.length; at += BATCH_HEADER_BYTES) {
      header.copy(value, at);
      value.writeInt32BE(value.length - at - 12, at + BatchField.length);
    }
    const { node, batch } = await hostile(value);
    await overwrite(node.fileSystem, batch.position, Buffer.alloc(200)); // the length is gone, and what the checksum covers
    const before = node.fileSystem.peek(file)?.length;
    const again = await start(node);
    const where = `${file} at byte ${batch.position}`;
    expect(again.topic("t")?.endOffset(0)).toBe(batch.base);
    await expect(again.append({ name: "m", epoch: 0 }, "t", 0, 0, [record("x")])).rejects.toMatchObject({ code: "LOG_CORRUPT", where });
    expect(node.fileSystem.peek(file)?.length).toBe(before);
    await again.close();
  });
});

describe("millrace tail", () => {
  interface Tailed {
    readonly found: string[];
    readonly holes: MillraceError[];
  }
  const tailOf = async ({ fileSystem }: Killed, tailStart: TailStart): Promise<Tailed> => {
    const tailed: Tailed = { found: [], holes: [] };
    const tail = new PartitionTail(fileSystem, "/data/t-0", tailStart, (hole) => tailed.holes.push(hole));
    await tail.read(({ value }) => tailed.found.push(String(value)) > 0);
    return tailed;
  };

  // 64 makes the length one that reaches far behind the file, as that of a batch does that is not written yet
  test.each([
    ["length's highest byte", BatchField.length, 64],
    ["length's lowest byte", BatchField.length + 3, 64],
    ["checksum", BatchField.crc, 1],
  ])("a bit flips in a %s: it says so, and goes on behind", async (_, field, bits) => {
    const node = await killed();
    const { position, base, end } = node.batches[4] as Batch;
    node.fileSystem.flip(file, position + field, bits);
    const said = { code: "LOG_CORRUPT", where: `${file} at byte ${position}`, readableFrom: end };
    const all = await tailOf(node, { at: "beginning" });
    expect(all).toMatchObject({ found: node.values.toSpliced(base, end - base), holes: [said] });
    expect(await tailOf(node, { at: "offset", offset: end })).toEqual({ found: node.values.slice(end), holes: [] });
    expect(await tailOf(node, { at: "last", records: 7 })).toEqual({ found: node.values.slice(-7), holes: [] });
  });

  test("a time behind the damage is found", async () => {
    const node = await killed({}, (batch) => batch * 100);
    const { position, end } = node.batches[4] as Batch;
    node.fileSystem.flip(file, position + BatchField.crc, 1);
    const { found, holes } = await tailOf(node, { at: "timestamp", timestamp: 901 });
    expect(found).toEqual(node.values.slice(node.batches[10]?.base));
    expect(holes).toMatchObject([{ code: "LOG_CORRUPT", readableFrom: end }]);
  });

  test("what is not whole at the end is not there yet: that is no damage", async () => {
    const node = await killed();
    const { position, base } = node.batches.at(-1) as Batch;
    const handle = await node.fileSystem.open(file, "write");
    await handle.truncate(position + BATCH_HEADER_BYTES + 5);
    await handle.close();
    expect(await tailOf(node, { at: "beginning" })).toEqual({ found: node.values.slice(0, base), holes: [] });
  });
});
