import { mkdir, mkdtemp } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { DuckDb, quoted } from "../../demo/duckdb.ts";
import type { Evidence } from "../../demo/judge.ts";
import { flightsPath } from "../../demo/paths.ts";

export const EVENTS = 3_000;
export const HELD_BACK = [17, 1_234];
const LATE_BESIDES = 1_300;

/** Doctors what would be written; each statement changes one of the tables flights, windows, late, arrivals. */
export type Doctor = readonly string[];

/** A folder as a faultless run would leave it, made by SQL alone; then something is done to it. */
export async function outputOf(doctor: Doctor = []): Promise<Evidence> {
  const output = await mkdtemp(path.join(os.tmpdir(), "millrace-judge-"));
  for (const folder of ["flights", "hourly-delays", "flights-late"]) await mkdir(`${output}/${folder}`);
  await using db = await DuckDb.open();
  await db.run(`create table flights as select file_row_number as id, date::timestamptz as date, delay::double as delay, distance::double as distance, origin, destination,
    strftime(date, '%Y-%m-%d') as day from read_parquet(${quoted(flightsPath)}, file_row_number = true) where file_row_number < ${EVENTS}`);
  await db.run(`create table late as select * exclude (day) from flights where id in (${[...HELD_BACK, LATE_BESIDES].join(",")})`);
  await db.run(`create table windows as select origin, date_trunc('hour', date) as "windowStart",
    date_trunc('hour', date) + interval 1 hour as "windowEnd", count(*) as flights, avg(delay) as "meanDelay", max(delay)::double as worst
    from flights where id not in (select id from late) group by all`);
  await db.run("create table arrivals as select id, 1 as deliveries, 0 as unmarked from flights where destination = 'SFO'");
  for (const statement of doctor) await db.run(statement);
  await db.run(`copy flights to ${quoted(`${output}/flights`)} (format parquet, partition_by (day), overwrite_or_ignore)`);
  await db.run(`copy late to ${quoted(`${output}/flights-late/a.parquet`)} (format parquet)`);
  await db.run(`copy windows to ${quoted(`${output}/hourly-delays/a.parquet`)} (format parquet)`);
  await db.run(`copy arrivals to ${quoted(`${output}/arrivals.csv`)} (header)`);
  const arrivals = { name: "arrivals.sfo", column: "destination", airport: "SFO", seenFile: `${output}/arrivals.csv` } as const;
  return { original: flightsPath, events: EVENTS, output, heldBack: HELD_BACK, queues: [arrivals] };
}
