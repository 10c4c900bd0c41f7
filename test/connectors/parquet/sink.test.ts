import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ParquetOptions, PartitionValue } from "../../../connectors/parquet/index.ts";
import { parquet } from "../../../connectors/parquet/index.ts";
import type { FileSystem } from "../../../src/base/fileSystem.ts";
import { nodeFileSystem } from "../../../src/base/nodeFileSystem.ts";
import type { RowSchema } from "../../../src/stream/contract/columns.ts";
import type { SinkWriter } from "../../../src/stream/contract/sink.ts";
import { SimulatedFileSystem } from "../../support/simulatedFileSystem.ts";
import { metadata, query } from "./readers.ts";
import { noCheckpoint, SinkRun, sinkContext } from "./sinkRun.ts";

interface Flight {
  id: number;
  origin: string;
}
const columns: RowSchema = [
  { name: "id", type: "int64", optional: false },
  { name: "origin", type: "string", optional: true },
];
const place = { topic: "flights", partition: 0, offset: 0, timestamp: 0 };
const flight = (id: number): Flight => ({ id, origin: `A${id % 5}` });

let base: string;
beforeEach(async () => {
  base = await mkdtemp(path.join(os.tmpdir(), "parquet-sink-"));
});
afterEach(() => rm(base, { recursive: true, force: true }));

const openSink = (options: ParquetOptions<Flight>, fileSystem: FileSystem = nodeFileSystem, id = "parquet out"): Promise<SinkWriter> =>
  parquet<Flight>(options).open(sinkContext(fileSystem, base, noCheckpoint, id));

async function commitAll(writer: SinkWriter, epoch = 1): Promise<void> {
  const { pending } = await writer.snapshot(epoch);
  for (const handle of pending) await writer.commit(handle);
  await writer.committed();
}

async function results(folder = path.join(base, "out")): Promise<string[]> {
  const names = await readdir(folder, { recursive: true });
  return names.filter((name) => name.endsWith(".parquet")).sort();
}

describe("files", () => {
  test("are visible with the commit, not before, and prove what they hold", async () => {
    const writer = await openSink({ to: "out" });
    for (const offset of [7, 5, 9]) writer.write(flight(offset), columns, { ...place, offset });
    writer.write(flight(1), columns, { ...place, partition: 1, offset: 3 });
    const { pending } = await writer.snapshot(1);
    expect(await results()).toEqual([]);
    expect(pending).toHaveLength(1);
    for (const handle of pending) await writer.commit(handle);
    await writer.committed();
    for (const handle of pending) await writer.commit(handle); // again: the same result
    const files = await results();
    expect(files).toHaveLength(1);
    const keyValues = (await metadata(path.join(base, "out", files[0] as string))).key_value_metadata;
    expect(Object.fromEntries(keyValues?.map(({ key, value }) => [key, value]) ?? [])).toEqual({
      "millrace.pipeline": "hourly-delays",
      "millrace.sink": "parquet out",
      "millrace.epoch": "1",
      "millrace.offsets": JSON.stringify([
        { topic: "flights", partition: 0, first: 5, last: 9 },
        { topic: "flights", partition: 1, first: 3, last: 3 },
      ]),
    });
    await writer.close();
  });

  test("an epoch without rows makes none", async () => {
    const writer = await openSink({ to: "out" });
    expect((await writer.snapshot(1)).pending).toEqual([]);
    await writer.close();
    expect(await results()).toEqual([]);
  });

  test("have one schema each: a column that comes later begins new ones", async () => {
    const writer = await openSink({ to: "out" });
    const early: RowSchema = [{ name: "id", type: "int64", optional: true }];
    expect(() => writer.write({ id: null }, [], place)).toThrow(expect.objectContaining({ code: "ROW_REFUSED" }));
    writer.write({ id: 1 }, early, place);
    writer.write({ id: 2 }, structuredClone(early), place);
    writer.write({ id: 3, origin: "SFO" }, [...early, { name: "origin", type: "string", optional: true }], place);
    await commitAll(writer);
    expect(await results()).toHaveLength(2);
    const rows = await query(`SELECT id::INT AS id, origin FROM read_parquet('${base}/out/*.parquet', union_by_name = true) ORDER BY id`);
    expect(rows).toEqual([
      { id: 1, origin: null },
      { id: 2, origin: null },
      { id: 3, origin: "SFO" },
    ]);
  });

  test("two sinks share a folder", async () => {
    const one = await openSink({ to: "out" });
    const other = await openSink({ to: "out" }, nodeFileSystem, "other");
    one.write(flight(1), columns, place);
    other.write(flight(2), columns, place);
    await commitAll(one);
    await commitAll(other);
    expect(await results()).toHaveLength(2);
    expect((await query(`SELECT id::INT AS id FROM '${base}/out/*.parquet' ORDER BY id`)).map((row) => row["id"])).toEqual([1, 2]);
  });

  test("end at their limit of rows", async () => {
    const writer = await openSink({ to: "out", fileRowsMax: 10 });
    for (let id = 0; id < 25; id++) writer.write(flight(id), columns, place);
    await commitAll(writer);
    const counts = await query(
      `SELECT count(*)::INT AS c FROM read_parquet('${base}/out/*.parquet', filename = true) GROUP BY filename ORDER BY filename`,
    );
    expect(counts.map((row) => row["c"])).toEqual([10, 10, 5]);
  });

  test("what a start that never reached a checkpoint left behind is removed", async () => {
    const writer = await openSink({ to: "out" });
    writer.write(flight(1), columns, place);
    await writer.snapshot(1); // then the process is killed, before the checkpoint
    const pendingFolder = path.join(base, "out/_pending/hourly-delays.parquet~20out");
    expect(await readdir(pendingFolder)).toEqual(["1-0.pending"]);
    await openSink({ to: "out" });
    expect(await readdir(pendingFolder)).toEqual([]);
  });
});

describe("partitions", () => {
  test("DuckDB gets the values back from the path", async () => {
    const values: PartitionValue[] = ["plain", "a/b", "50%", "x=y", "Zürich \u{1f600}", "..", " ", 7, -0.5, true, null, "", "__", "q?*:"];
    const sink = parquet<{ id: number; at: PartitionValue }>({ to: "out", partitionBy: { place: (row) => row.at, fixed: () => "1" } });
    const writer = await sink.open(sinkContext(nodeFileSystem, base));
    const schema: RowSchema = [{ name: "id", type: "int64", optional: false }];
    values.forEach((at, id) => writer.write({ id, at }, schema, place));
    await commitAll(writer);
    const rows = await query(
      `SELECT id::INT AS id, place FROM read_parquet('${base}/out/**/*.parquet', hive_partitioning = true, hive_types_autocast = 0) ORDER BY id`,
    );
    expect(rows).toEqual(values.map((at, id) => ({ id, place: at === null || at === "" ? null : String(at) })));
    expect((await stat(path.join(base, "out/place=a%2Fb/fixed=1"))).isDirectory()).toBe(true);
    expect((await stat(path.join(base, "out/place=__HIVE_DEFAULT_PARTITION__/fixed=1"))).isDirectory()).toBe(true);
  });

  test("must not have a column's name, and must be of a plain value", async () => {
    const writer = await openSink({ to: "out", partitionBy: { Origin: (row) => row.origin } });
    expect(() => writer.write(flight(1), columns, place)).toThrow(expect.objectContaining({ code: "PARTITION_IS_COLUMN" }));
    expect(() => parquet<Flight>({ to: "x", columns: { id: "int32" }, partitionBy: { id: (row) => row.id } })).toThrow(/partition "id"/);
    // @ts-expect-error a Date has no one spelling
    const dated = await openSink({ to: "out", partitionBy: { day: () => new Date(0) } });
    expect(() => dated.write(flight(1), columns, place)).toThrow(
      expect.objectContaining({ code: "ROW_REFUSED", message: expect.stringMatching(/"day".*day\(\)/) }),
    );
  });

  test("a row on which partitionBy fails is refused, the next one is in its own partition", async () => {
    const writer = await openSink({ to: "out", partitionBy: { first: (row) => row.origin.slice(0, 1), last: (row) => row.origin.at(-1) } });
    writer.write({ id: 1, origin: "SFO" }, columns, place);
    for (const origin of [undefined, 7]) {
      expect(() => writer.write({ id: 2, origin }, columns, place)).toThrow(
        expect.objectContaining({ code: "ROW_REFUSED", domain: "user" }),
      );
    }
    writer.write({ id: 3, origin: "SFO" }, columns, place);
    writer.write({ id: 4, origin: "SAN" }, columns, place);
    await commitAll(writer);
    expect((await results()).map((name) => path.dirname(name))).toEqual(["first=S/last=N", "first=S/last=O"]);
  });

  test("more partitions than open files: the largest are closed early and nothing is lost", async () => {
    const writer = await openSink({ to: "out", openFilesMax: 3, partitionBy: { airport: (row) => row.origin } });
    for (let id = 0; id < 150; id++) {
      writer.write(flight(id), columns, { ...place, offset: id });
      if (id % 50 === 0) await writer.drained();
    }
    await commitAll(writer);
    const rows = await query(
      `SELECT id::INT AS id, origin = airport AS same FROM read_parquet('${base}/out/**/*.parquet', hive_partitioning = true) ORDER BY id`,
    );
    expect(rows).toEqual(Array.from({ length: 150 }, (_, id) => ({ id, same: true })));
  });
});

describe("a row that does not fit its columns", () => {
  const everything: RowSchema = [
    { name: "id", type: "int64", optional: false },
    { name: "n", type: "int32", optional: true },
    { name: "d", type: "double", optional: true },
    { name: "s", type: "string", optional: true },
    { name: "b", type: "boolean", optional: true },
    { name: "t", type: "timestamp", optional: true },
    { name: "raw", type: "bytes", optional: true },
  ];
  const bad: [Record<string, unknown> | null, RegExp][] = [
    [{}, /undefined in column "id"/],
    [{ id: null }, /null in column "id" \(int64\), which is required/],
    [{ id: 2 ** 53 }, /number 9007199254740992 in column "id"/],
    [{ id: 1.5 }, /number 1.5/],
    [{ id: 2n ** 63n }, /bigint 9223372036854775808/],
    [{ id: "1" }, /a string of 1 characters in column "id"/],
    [{ id: 1, n: 2 ** 31 }, /column "n" \(int32\)/],
    [{ id: 1, n: 1n }, /bigint 1 in column "n"/],
    [{ id: 1, d: 1n }, /column "d" \(double\)/],
    [{ id: 1, s: 7 }, /number 7 in column "s"/],
    [{ id: 1, b: 1 }, /column "b"/],
    [{ id: 1, t: new Date(NaN) }, /an invalid Date in column "t"/],
    [{ id: 1, t: 0.5 }, /column "t"/],
    [{ id: 1, t: "2001-01-01" }, /a string of 10 characters in column "t" \(timestamp\)/],
    [{ id: 1, raw: [1] }, /an array in column "raw"/],
    [null, /must be an object/],
  ];

  test("is refused by name, and the rows before and after it are whole", async () => {
    const writer = await openSink({ to: "out" });
    const whole = { id: 1, n: 1, d: 1, s: "s", b: true, t: new Date(1), raw: Uint8Array.of(1) };
    for (const [row, message] of bad) {
      expect(() => writer.write(row, everything, place)).toThrow(
        expect.objectContaining({ code: "ROW_REFUSED", domain: "user", message: expect.stringMatching(message) }),
      );
      writer.write(whole, everything, place);
    }
    await commitAll(writer);
    const rows = await query(
      `SELECT count(*)::INT AS c, count(DISTINCT (id, n, d, s, b, t, raw))::INT AS kinds FROM '${base}/out/*.parquet'`,
    );
    expect(rows).toEqual([{ c: bad.length, kinds: 1 }]);
  });

  test("leaves no file when it is the only one", async () => {
    const writer = await openSink({ to: "out", partitionBy: { airport: (row) => row.origin } });
    expect(() => writer.write({ id: "x", origin: "SFO" }, columns, place)).toThrow(/ROW_REFUSED|column "id"/);
    expect((await writer.snapshot(1)).pending).toEqual([]);
  });

  test("bytes that the caller uses again stay as they were", async () => {
    const writer = await openSink({ to: "out" });
    const raw = Uint8Array.of(1, 2, 3);
    writer.write({ id: 1, raw }, everything, place);
    raw.fill(9);
    await commitAll(writer);
    expect(await query(`SELECT hex(raw) AS raw FROM '${base}/out/*.parquet'`)).toEqual([{ raw: "010203" }]);
  });
});

describe("memory", () => {
  test("rows beyond the buffer's limit go to the disk before the checkpoint", async () => {
    const writer = await openSink({ to: "out", bufferBytesMax: 100_000, rowGroupBytesMax: 1_000_000, compression: "none" });
    const text = "x".repeat(1000);
    for (let id = 0; id < 1000; id++) {
      writer.write({ id, origin: `${text}${id}` }, columns, place);
      if (id % 50 === 0) await writer.drained();
    }
    const [name] = await readdir(path.join(base, "out/_pending/hourly-delays.parquet~20out"));
    const bytes = (await stat(path.join(base, "out/_pending/hourly-delays.parquet~20out", name as string))).size;
    expect(bytes).toBeGreaterThan(500_000);
    await commitAll(writer);
    expect(await query(`SELECT count(DISTINCT origin)::INT AS c FROM '${base}/out/*.parquet'`)).toEqual([{ c: 1000 }]);
  });

  test("limits that make no sense are refused", () => {
    expect(() => parquet({ to: "out", openFilesMax: 0 })).toThrow(/openFilesMax .* not 0/);
    expect(() => parquet({ to: "" })).toThrow(/to of the Parquet sink/);
    expect(() => parquet({ to: "out", compression: "gzip" as "zstd" })).toThrow(/zstd/);
  });
});

describe("an output that cannot be written", () => {
  test("a file in the folder's place", async () => {
    await writeFile(path.join(base, "out"), "I was here first");
    const error = await openSink({ to: "out" }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "OUTPUT_UNWRITABLE", domain: "external", retryable: false });
    expect((error as { toText(): string }).toText()).toMatch(/out[\s\S]*because[\s\S]*move it away/);
    expect(await readFile(path.join(base, "out"), "utf8")).toBe("I was here first");
  });

  for (const code of ["EROFS", "EACCES"]) {
    test(`${code} says who has to do what, and is not tried again`, async () => {
      const fs = new SimulatedFileSystem({ seed: 1 });
      fs.failNext({ op: "makeDirectory", code });
      await expect(openSink({ to: "out" }, fs)).rejects.toMatchObject({
        code: "OUTPUT_UNWRITABLE",
        retryable: false,
        where: expect.stringContaining("out"),
      });
    });
  }

  test("a full disk ends the life, the next one after it was freed loses nothing", async () => {
    for (const moment of ["write", "sync", "rename", "open"] as const) {
      const fs = new SimulatedFileSystem({ seed: 2 });
      const rows = Array.from({ length: 100 }, (_, id) => ({ ...flight(id) }));
      const run = new SinkRun({
        sink: parquet<Flight>({ to: "out", rowGroupRowsMax: 10 }),
        columns,
        rows,
        baseDirectory: "/base",
        rowsOfEpoch: () => 40,
      });
      fs.failNext({ op: moment, code: "ENOSPC", times: Infinity });
      await expect(run.life(fs)).rejects.toMatchObject({ code: "OUTPUT_FULL", retryable: true });
      fs.heal();
      await run.life(fs);
      let count = 0;
      for (const handle of await fs.list("/base/out")) if (handle.endsWith(".parquet")) count++;
      expect(count).toBe(3);
    }
  });

  test("a failed sync counts as nothing written", async () => {
    const fs = new SimulatedFileSystem({ seed: 3 });
    const writer = await openSink({ to: "out" }, fs);
    writer.write(flight(1), columns, place);
    fs.failNext({ op: "sync", code: "EIO" });
    await expect(writer.snapshot(1)).rejects.toMatchObject({ code: "OUTPUT_UNWRITABLE", retryable: true });
    await expect(writer.snapshot(1)).rejects.toMatchObject({ code: "OUTPUT_UNWRITABLE" });
    await writer.close();
  });
});

/** A sink that wrote one row, before its checkpoint. */
async function snapshotOf(id: number) {
  const writer = await openSink({ to: "out" });
  writer.write(flight(id), columns, place);
  return { writer, pending: (await writer.snapshot(1)).pending };
}

describe("handles of a checkpoint", () => {
  test("whose file is gone are an error, not skipped", async () => {
    const { writer, pending } = await snapshotOf(1);
    await rm(path.join(base, "out/_pending"), { recursive: true });
    await expect(writer.commit(pending[0]!)).rejects.toMatchObject({
      code: "SINK_HANDLE_LOST",
      message: expect.stringContaining("1 rows"),
    });
  });

  test("whose file was cut are an error too", async () => {
    const { writer, pending } = await snapshotOf(1);
    const temporary = path.join(base, "out", pending[0]?.["temporary"] as string);
    await writeFile(temporary, (await readFile(temporary)).subarray(0, 20));
    await expect(writer.commit(pending[0]!)).rejects.toMatchObject({ code: "SINK_HANDLE_LOST" });
  });

  test("never overwrite a result with other content", async () => {
    const first = await snapshotOf(1);
    await first.writer.commit(first.pending[0]!);
    const [name] = await results();
    const before = await readFile(path.join(base, "out", name as string));
    // the checkpoint was lost, the output was not: the pipeline begins at epoch 1 again
    const writer = await openSink({ to: "out" });
    writer.write(flight(2), columns, place);
    await expect(writer.snapshot(1)).rejects.toMatchObject({ code: "OUTPUT_EXISTS", domain: "user" });
    // nor when the file came after the checkpoint
    await rm(path.join(base, "out", name as string));
    const { writer: late, pending } = await snapshotOf(3);
    await writeFile(path.join(base, "out", name as string), before);
    await expect(late.commit(pending[0]!)).rejects.toMatchObject({ code: "OUTPUT_EXISTS" });
    expect((await readFile(path.join(base, "out", name as string))).equals(before)).toBe(true);
  });

  test("of half a rename (both names are there) end with one file", async () => {
    const { writer, pending } = await snapshotOf(1);
    const temporary = path.join(base, "out", pending[0]?.["temporary"] as string);
    const bytes = await readFile(temporary);
    await writer.commit(pending[0]!);
    await writeFile(temporary, bytes);
    await writer.commit(pending[0]!);
    await writer.committed();
    await expect(stat(temporary)).rejects.toMatchObject({ code: "ENOENT" });
    expect(await results()).toHaveLength(1);
  });

  test("of a newer version, or that lead out of the folder, are refused", async () => {
    const { writer, pending } = await snapshotOf(1);
    await expect(async () => writer.commit({ ...pending[0], version: 2 })).rejects.toMatchObject({ code: "SINK_HANDLE_UNREADABLE" });
    await expect(async () => writer.commit({ ...pending[0]!, final: "../escaped.parquet" })).rejects.toMatchObject({
      code: "SINK_HANDLE_UNREADABLE",
    });
  });
});
