/**
 * Three readers that others wrote. Each gives the rows in one spelling, so that they can be compared: int64 as bigint, timestamps as
 * milliseconds, bytes as hex, null for null, -0 and NaN as they are.
 */

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { DuckDBInstance } from "@duckdb/node-api";
import type { FileMetaData } from "hyparquet";
import { parquetMetadata, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import type { RowSchema } from "../../../src/stream/contract/columns.ts";
import type { Row } from "./encode.ts";

type Cell = bigint | number | string | boolean | null;

/** A row as it should come out of every reader. */
export function expected(schema: RowSchema, row: Row): Record<string, Cell> {
  return spell(schema, row, (value) => (value as Uint8Array).slice());
}

export async function readWithDuckDb(path: string, schema: RowSchema): Promise<Record<string, Cell>[]> {
  const rows = await query(
    `SELECT * FROM read_parquet('${path}', hive_partitioning = false, file_row_number = true) ORDER BY file_row_number`,
  );
  return rows.map((row) => {
    const plain: Row = {};
    for (const { name, type } of schema) {
      const value = row[name];
      // a TIMESTAMP WITH TIME ZONE, which a timestamp in UTC must be for DuckDB, has microseconds
      if (type === "timestamp" && value !== null) plain[name] = Number((value as { micros: bigint }).micros / 1000n);
      else if (type === "bytes" && value !== null) plain[name] = (value as { bytes: Uint8Array }).bytes;
      else plain[name] = value;
    }
    return spell(schema, plain, (value) => value as Uint8Array);
  });
}

export async function query(sql: string): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
  const connection = await instance.connect();
  try {
    return (await (await connection.runAndReadAll(sql)).getRowObjects()) as Record<string, unknown>[];
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

export async function readWithHyparquet(path: string, schema: RowSchema): Promise<Record<string, Cell>[]> {
  const rows = (await parquetReadObjects({ file: await memory(path), compressors, utf8: false })) as Row[];
  return rows.map((row) => spell(schema, row, (value) => value as Uint8Array));
}

export async function metadata(path: string): Promise<FileMetaData> {
  return parquetMetadata(await memory(path));
}

async function memory(path: string): Promise<ArrayBuffer> {
  const bytes = await readFile(path);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
}

interface Types {
  PARQUET_LOGICAL_TYPES: Record<string, { fromPrimitive: (value: bigint) => unknown }>;
}
interface ParquetJs {
  ParquetReader: { openFile(path: string): Promise<{ getCursor(): { next(): Promise<Row | null> }; close(): Promise<void> }> };
}
const require = createRequire(import.meta.url);
const parquetJs = require("parquetjs-lite") as ParquetJs;
// it reads 64-bit integers as bigint, and then fails to make a Date of one
const timestamp = (require("parquetjs-lite/lib/types.js") as Types).PARQUET_LOGICAL_TYPES["TIMESTAMP_MILLIS"];
if (timestamp !== undefined) timestamp.fromPrimitive = (value) => new Date(Number(value));

/** Reads no zstd; makes text of what comes out of a dictionary, and loses the sign of -0 in it. */
export async function readWithParquetJs(path: string, schema: RowSchema): Promise<Record<string, Cell>[]> {
  const reader = await parquetJs.ParquetReader.openFile(path);
  try {
    const rows: Record<string, Cell>[] = [];
    const cursor = reader.getCursor();
    for (let row = await cursor.next(); row !== null; row = await cursor.next()) {
      for (const { name, type } of schema) {
        if ((type === "double" || type === "int32") && typeof row[name] === "string") row[name] = Number(row[name]);
      }
      rows.push(spell(schema, row, (value) => value as Uint8Array));
    }
    return rows;
  } finally {
    await reader.close();
  }
}

export function withoutMinusZero(rows: Record<string, Cell>[]): Record<string, Cell>[] {
  return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value === 0 ? 0 : value])));
}

function spell(schema: RowSchema, row: Row, bytes: (value: unknown) => Uint8Array): Record<string, Cell> {
  const out: Record<string, Cell> = {};
  for (const { name, type } of schema) {
    const value = row[name];
    if (value === null || value === undefined) out[name] = null;
    else if (type === "int64") out[name] = BigInt(value as number | bigint);
    else if (type === "timestamp") out[name] = Number(value);
    else if (type === "bytes") out[name] = Buffer.from(bytes(value)).toString("hex");
    else if (type === "string") out[name] = (value as string & { toWellFormed(): string }).toWellFormed();
    else out[name] = value as Cell;
  }
  return out;
}
