import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ColumnBuffer, Page } from "../../../connectors/formats/parquet/columnBuffer.ts";
import { RowGroup } from "../../../connectors/formats/parquet/rowGroup.ts";
import type { RowSchema } from "../../../src/stream/contract/columns.ts";
import type { EncodeOptions, Row } from "./encode.ts";
import { encode } from "./encode.ts";
import { expected, metadata, query, readWithDuckDb, readWithHyparquet, readWithParquetJs, withoutMinusZero } from "./readers.ts";
import { randomRows } from "./rows.ts";

let folder: string;
let files = 0;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "parquet-encoder-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function written(schema: RowSchema, rows: Row[], options: EncodeOptions = {}): Promise<string> {
  const file = path.join(folder, `${files++}.parquet`);
  await encode(file, schema, rows, options);
  return file;
}

/** Every reader gives every row as it was written. */
async function expectRowExact(schema: RowSchema, rows: Row[], options: EncodeOptions = {}, note = ""): Promise<string> {
  const file = await written(schema, rows, options);
  const wanted = rows.map((row) => expected(schema, row));
  expect(await readWithDuckDb(file, schema), `DuckDB ${note}`).toEqual(wanted);
  expect(await readWithHyparquet(file, schema), `hyparquet ${note}`).toEqual(wanted);
  if (options.compression === "snappy" || options.compression === "none") {
    const found = await readWithParquetJs(file, schema);
    expect(withoutMinusZero(found), `parquetjs-lite ${note}`).toEqual(withoutMinusZero(wanted));
  }
  return file;
}

/** The pages of the first column. */
function pagesOf(schema: RowSchema, rows: Row[]): Page[] {
  const group = new RowGroup(schema);
  for (const row of rows) group.write(row);
  group.settle();
  return [...(group.columns[0] as ColumnBuffer).pages()];
}

const everyType: RowSchema = [
  { name: "id", type: "int64", optional: false },
  { name: "count", type: "int32", optional: true },
  { name: "mean", type: "double", optional: true },
  { name: "name", type: "string", optional: true },
  { name: "late", type: "boolean", optional: true },
  { name: "at", type: "timestamp", optional: true },
  { name: "raw", type: "bytes", optional: true },
];

describe("what was written is what three other programs read", () => {
  for (const compression of ["zstd", "snappy", "none"] as const) {
    test(`one row of everything, one of nothing, and the borders (${compression})`, async () => {
      const rows = [
        { id: 2n ** 63n - 1n, count: 2 ** 31 - 1, mean: Infinity, name: "", late: true, at: new Date(-1), raw: new Uint8Array(0) },
        { id: 0, count: null, mean: null, name: null, late: null, at: null, raw: null },
        {
          id: -(2n ** 63n),
          count: -(2 ** 31),
          mean: -Infinity,
          name: "\u{1f600} grüße",
          late: false,
          at: new Date(0),
          raw: Uint8Array.of(0, 255),
        },
        { id: 2n ** 53n + 1n, mean: NaN, name: "lone \ud83d here", at: Date.UTC(1969, 6, 20, 20, 17) },
        { id: Number.MIN_SAFE_INTEGER, mean: -0, name: "x".repeat(300) },
        { id: -4294967296, mean: Number.MIN_VALUE, at: new Date("0001-01-01T00:00:00Z") },
      ];
      await expectRowExact(everyType, rows, { compression });
    });
  }

  test("a file without rows, and a row group of one row", async () => {
    await expectRowExact(everyType, [], { compression: "none" });
    await expectRowExact(everyType, [{ id: 1 }], { compression: "snappy", rowGroupRows: 1 });
  });

  for (let seed = 1; seed <= 24; seed++) {
    test(`random rows, seed ${seed}`, async () => {
      const { schema, rows } = randomRows(seed, [1, 7, 64, 1000, 5000][seed % 5] as number);
      const compression = (["snappy", "none", "zstd"] as const)[seed % 3] as "zstd";
      await expectRowExact(schema, rows, { compression, rowGroupRows: seed % 2 === 0 ? 700 : 100_000 }, `seed ${seed}`);
    });
  }

  test("many pages and row groups, few and many distinct values", async () => {
    const schema: RowSchema = [
      { name: "unique", type: "string", optional: false },
      { name: "airport", type: "string", optional: true },
      { name: "late_unique", type: "string", optional: false },
      { name: "sorted", type: "int64", optional: false },
      { name: "few", type: "int32", optional: true },
    ];
    const rows = Array.from({ length: 90_000 }, (_, i) => ({
      unique: `${i}-${(i * 2654435761) % 4294967296}`,
      airport: i % 11 === 0 ? null : `A${(i * 7919) % 229}`,
      late_unique: i % 45_000 < 5_000 ? "same" : `then ${i}`,
      sorted: Math.floor(i / 30_000),
      few: i % 13 === 0 ? null : i % 3000,
    }));
    const file = await expectRowExact(schema, rows, { rowGroupRows: 45_000 });
    const { row_groups } = await metadata(file);
    expect(row_groups.length).toBe(2);
    const encodings = row_groups[0]?.columns.map((column) => column.meta_data?.encodings);
    expect(encodings).toEqual([
      ["RLE", "PLAIN"], // given up: every value is another one
      ["RLE", "PLAIN_DICTIONARY"],
      ["RLE", "PLAIN"], // given up after it had begun well
      ["RLE", "PLAIN_DICTIONARY"],
      ["RLE", "PLAIN_DICTIONARY"],
    ]);
  });

  test("pages end by bytes: large values don't make one large page", async () => {
    const schema: RowSchema = [{ name: "text", type: "string", optional: true }];
    const rows = Array.from({ length: 60 }, (_, i) => ({ text: i % 7 === 0 ? null : `${i}`.padEnd(200_000, "ab") }));
    await expectRowExact(schema, rows, { compression: "none" });
    const pages = pagesOf(schema, rows);
    expect(pages.map((page) => page.valueCount).reduce((sum, count) => sum + count)).toBe(60);
    for (const { body } of pages) expect(body.length).toBeLessThan(1024 * 1024 + 200_100);
    expect(pages.length).toBeGreaterThan(8);
  });

  test("a dictionary has each text once, also when lone surrogates make several one", () => {
    const schema: RowSchema = [{ name: "text", type: "string", optional: false }];
    const [dictionary, data] = pagesOf(schema, [{ text: "\ud800" }, { text: "\udc00" }, { text: "\ufffd" }, { text: "\ud800" }]);
    expect([dictionary?.valueCount, dictionary?.body.toString("utf8", 4), data?.valueCount]).toEqual([1, "\ufffd", 4]);
  });
});

describe("the footer", () => {
  test("says who wrote it, and carries the given key-values", async () => {
    const file = await written([{ name: "id", type: "int64", optional: false }], [{ id: 1 }], {
      keyValues: { "millrace.pipeline": "p ü" },
    });
    const found = await metadata(file);
    const { version } = await import("../../../package.json", { with: { type: "json" } }).then((json) => json.default);
    // what parquet-mr's VersionParser accepts
    expect(found.created_by).toMatch(new RegExp(`^millrace version ${version.replaceAll(".", "\\.")} \\(build [^)]+\\)$`));
    expect(found.key_value_metadata).toEqual([{ key: "millrace.pipeline", value: "p ü" }]);
  });
});

/** Of a column with these values. */
async function statisticsOf(type: RowSchema[0]["type"], values: unknown[]) {
  const file = await written(
    [{ name: "v", type, optional: true }],
    values.map((v) => ({ v })),
  );
  return (await metadata(file)).row_groups[0]?.columns[0]?.meta_data?.statistics;
}

describe("statistics", () => {
  test("numbers, times and booleans", async () => {
    expect(await statisticsOf("int64", [3, 2n ** 62n, -(2n ** 62n), null])).toMatchObject({
      min_value: -(2n ** 62n),
      max_value: 2n ** 62n,
      null_count: 1n,
    });
    expect(await statisticsOf("int64", [-1, 4294967295, 1])).toMatchObject({ min_value: -1n, max_value: 4294967295n });
    expect(await statisticsOf("int32", [5, -7, 2])).toMatchObject({ min_value: -7, max_value: 5 });
    expect(await statisticsOf("timestamp", [new Date(-5), 10])).toMatchObject({ min_value: new Date(-5), max_value: new Date(10) });
    expect(await statisticsOf("boolean", [true, null])).toMatchObject({ min_value: true, max_value: true });
    expect(await statisticsOf("boolean", [true, false])).toMatchObject({ min_value: false, max_value: true });
  });

  test("doubles: zero bounds are -0 and +0, a NaN leaves them out", async () => {
    const zero = await statisticsOf("double", [0, -0, 0]);
    expect([zero?.min_value, zero?.max_value]).toEqual([-0, 0]);
    const positive = await statisticsOf("double", [0, 5]);
    expect(Object.is(positive?.min_value, -0)).toBe(true);
    expect(await statisticsOf("double", [-Infinity, 2.5])).toMatchObject({ min_value: -Infinity, max_value: 2.5 });
    for (const values of [[NaN], [1, NaN, 2]]) {
      const found = await statisticsOf("double", values);
      expect([found?.min_value, found?.max_value, found?.null_count]).toEqual([undefined, undefined, 0n]);
    }
  });

  test("text is in the order of its UTF-8 bytes, dictionary or plain", async () => {
    // by UTF-16 units the emoji would be less than U+E000
    const words = ["b", "\u{1f600}", "\ue000", "é"];
    expect(await statisticsOf("string", words)).toMatchObject({ min_value: "b", max_value: "\u{1f600}" });
    const many = Array.from({ length: 10_000 }, (_, i) => `${words[i % 4]}${i}`);
    expect(await statisticsOf("string", many)).toMatchObject({ min_value: "b0", max_value: "\u{1f600}9997" });
    expect(await statisticsOf("string", ["\ud800", "\uffff"])).toMatchObject({ min_value: "\ufffd", max_value: "\uffff" });
  });

  test("bytes are unsigned; bounds that are long are left out, and so are those of nothing", async () => {
    const bytes = await statisticsOf("bytes", [Uint8Array.of(128), Uint8Array.of(127, 1)]);
    expect(bytes?.null_count).toBe(0n);
    const long = await statisticsOf("string", ["a", "b".repeat(1000)]);
    expect([long?.min_value, long?.max_value]).toEqual([undefined, undefined]);
    const nothing = await statisticsOf("string", [null, undefined]);
    expect([nothing?.min_value, nothing?.null_count]).toEqual([undefined, 2n]);
  });

  test("DuckDB, which skips row groups by them, finds every row at the borders", async () => {
    const schema: RowSchema = [
      { name: "n", type: "int64", optional: false },
      { name: "d", type: "double", optional: true },
      { name: "s", type: "string", optional: true },
      { name: "t", type: "timestamp", optional: false },
    ];
    const letters = ["a", "é", "\uffff", "\u{10000}", "\u{1f600}"];
    const rows = Array.from({ length: 1000 }, (_, i) => ({
      n: BigInt(i - 500) * 2n ** 40n,
      d: i === 450 ? NaN : i === 700 ? -0 : i / 3 - 100,
      s: i % 100 === 50 ? null : `${letters[Math.floor(i / 200)]}${i % 200}`,
      t: new Date((i - 500) * 1000),
    }));
    const file = await written(schema, rows, { rowGroupRows: 100 });
    const count = async (where: string) =>
      Number((await query(`SELECT count(*) AS c FROM read_parquet('${file}') WHERE ${where}`))[0]?.["c"]);
    for (const at of [0, 99, 100, 499, 500, 999]) {
      const n = BigInt(at - 500) * 2n ** 40n;
      expect(await count(`n = ${n}`)).toBe(1);
      expect(await count(`n >= ${n}`)).toBe(1000 - at);
      expect(await count(`n < ${n}`)).toBe(at);
      expect(await count(`t <= make_timestamptz(${(at - 500) * 1_000_000})`)).toBe(at + 1);
    }
    expect(await count(`s = '\u{10000}0'`)).toBe(1);
    expect(await count(`s > '\uffff'`)).toBe(600 - 6);
    expect(await count(`s >= '\u{1f600}'`)).toBe(198);
    expect(await count("s IS NULL")).toBe(10);
    expect(await count("d = 0")).toBe(2); // 300 / 3 - 100, and -0
    expect(await count("d > 300")).toBe(1); // DuckDB takes NaN for the greatest
  });
});
