/** Flights into one Parquet file. The peers: another writer in JavaScript, and DuckDB's in C++. */
import { stat } from "node:fs/promises";
import path from "node:path";
import parquetjs from "parquetjs-lite";
import { ParquetFileWriter } from "../connectors/formats/parquet/fileWriter.ts";
import { RowGroup } from "../connectors/formats/parquet/rowGroup.ts";
import { DuckDb, quoted } from "../demo/duckdb.ts";
import { type Flights, readFlights } from "../demo/flightsFile.ts";
import { flightsPath } from "../demo/paths.ts";
import { nodeFileSystem } from "../src/base/nodeFileSystem.ts";
import type { RowSchema } from "../src/stream/contract/columns.ts";
import { type BenchPart, measure, type Printer } from "./measure.ts";
import { inFolder } from "./workspace.ts";

const ROWS = 100_000;
const ROUNDS = 3;

interface Row {
  readonly id: number;
  readonly date: Date;
  readonly delay: number;
  readonly distance: number;
  readonly origin: string;
  readonly destination: string;
}

const schema: RowSchema = [
  { name: "id", type: "int64", optional: false },
  { name: "date", type: "timestamp", optional: false },
  { name: "delay", type: "double", optional: false },
  { name: "distance", type: "double", optional: false },
  { name: "origin", type: "string", optional: false },
  { name: "destination", type: "string", optional: false },
];

function rowsOf({ dates, delays, distances, origins, destinations }: Flights): Row[] {
  return Array.from({ length: ROWS }, (_, id) => ({
    id,
    date: new Date(dates[id] as number),
    delay: delays[id] as number,
    distance: distances[id] as number,
    origin: origins[id] as string,
    destination: destinations[id] as string,
  }));
}

async function ours(file: string, rows: readonly Row[]): Promise<void> {
  const opened = await nodeFileSystem.open(file, "create");
  const writer = new ParquetFileWriter(opened, schema, "snappy");
  const group = new RowGroup(schema);
  for (const row of rows) group.write(row);
  await writer.writeRowGroup(group);
  await writer.finish({});
  await opened.close();
}

async function parquetJs(file: string, rows: readonly Row[]): Promise<void> {
  const compressed = { compression: "SNAPPY" } as const;
  const writer = await parquetjs.ParquetWriter.openFile(
    new parquetjs.ParquetSchema({
      id: { type: "INT64", ...compressed },
      date: { type: "TIMESTAMP_MILLIS", ...compressed },
      delay: { type: "DOUBLE", ...compressed },
      distance: { type: "DOUBLE", ...compressed },
      origin: { type: "UTF8", ...compressed },
      destination: { type: "UTF8", ...compressed },
    }),
    file,
  );
  writer.setRowGroupSize(ROWS);
  for (const row of rows) await writer.appendRow({ ...row });
  await writer.close();
}

export const parquet: BenchPart = {
  name: "parquet",
  run: (print: Printer) =>
    inFolder(async (folder) => {
      const rows = rowsOf(await readFlights(flightsPath, ROWS));
      let files = 0;
      const next = (): string => path.join(folder, `${++files}.parquet`);
      const measured = await measure(ROWS, () => ours(next(), rows), ROUNDS);
      const bytes = (await stat(path.join(folder, `${files}.parquet`))).size;
      const js = await measure(ROWS, () => parquetJs(next(), rows), 1);
      await using db = await DuckDb.open();
      await db.run(`create table flights as select file_row_number as id, date, delay::double as delay, distance::double as distance, origin,
        destination from read_parquet(${quoted(flightsPath)}, file_row_number = true) where file_row_number < ${ROWS}`);
      const duck = await measure(ROWS, () => db.run(`copy flights to ${quoted(next())} (format parquet, compression snappy)`), ROUNDS);
      print.line(`parquet: rows to a file (${(bytes / ROWS).toFixed(1)} bytes a row)`, measured, { name: "DuckDB COPY", measured: duck });
      print.line("parquet: the same", measured, { name: "parquetjs-lite", measured: js });
    }),
};
