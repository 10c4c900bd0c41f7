/**
 * Knows only the original file, what the pipeline wrote and what the consumers saw; nothing of how it came about. Each check is one
 * query for what is wrong, and an answer without rows is a pass.
 */
import { readdir } from "node:fs/promises";
import { DuckDb, quoted, type Row } from "./duckdb.ts";

export interface Evidence {
  /** The Parquet file that the flights were read from. */
  readonly original: string;
  /** Its first flights: those that were published. */
  readonly events: number;
  /** The folder with flights/, hourly-delays/ and flights-late/. */
  readonly output: string;
  /** Ids that were published long after their time. */
  readonly heldBack: readonly number[];
  readonly queues: readonly QueueEvidence[];
}

export interface QueueEvidence {
  readonly name: string;
  /** Which flights should have come. */
  readonly column: "origin" | "destination";
  readonly airport: string;
  /** What its consumer wrote: id, deliveries, unmarked. */
  readonly seenFile: string;
}

export interface Finding {
  readonly stage: string;
  readonly kind: "lost" | "duplicate" | "wrong";
  readonly what: string;
  readonly count: number;
  readonly firstRows: readonly Row[];
}

export interface Verdict {
  readonly findings: readonly Finding[];
  readonly raw: number;
  readonly windows: number;
  readonly late: number;
  /** Late although nobody held them back. */
  readonly lateBesides: number;
}

interface Check {
  readonly stage: string;
  readonly kind: Finding["kind"];
  readonly what: string;
  readonly sql: string;
}

const FIRST_ROWS = 5;
const HOUR_MS = 3_600_000;
const flightColumns = { id: "bigint", date: "timestamp", delay: "bigint", distance: "bigint", origin: "varchar", destination: "varchar" };
const windowColumns = {
  origin: "varchar",
  windowStart: "timestamp",
  windowEnd: "timestamp",
  flights: "bigint",
  meanDelay: "double",
  worst: "bigint",
};

export async function judge(evidence: Evidence): Promise<Verdict> {
  await using db = await DuckDb.open();
  await load(db, evidence);
  const findings: Finding[] = await leftBehind(evidence.output);
  for (const check of [...flightChecks("flights"), ...flightChecks("late"), ...rawChecks, ...lateChecks, ...windowChecks]) {
    findings.push(...(await answer(db, check)));
  }
  for (const [index, queue] of evidence.queues.entries()) {
    for (const check of queueChecks(queue, `seen${index}`)) findings.push(...(await answer(db, check)));
  }
  return {
    findings,
    raw: await db.number("select count(*) from flights"),
    windows: await db.number("select count(*) from windows"),
    late: await db.number("select count(*) from late"),
    lateBesides: await db.number("select count(*) from late anti join held_back using (id)"),
  };
}

async function answer(db: DuckDb, check: Check): Promise<Finding[]> {
  const count = await db.number(`select count(*) from (${check.sql})`);
  if (count === 0) return [];
  const firstRows = await db.rows(`select * from (${check.sql}) order by all limit ${FIRST_ROWS}`);
  return [{ stage: check.stage, kind: check.kind, what: check.what, count, firstRows }];
}

async function load(db: DuckDb, { original, events, output, heldBack, queues }: Evidence): Promise<void> {
  await db.run(`create table original as select file_row_number as id, epoch_ms(date) as date, delay, distance, origin, destination
    from read_parquet(${quoted(original)}, file_row_number = true) where file_row_number < ${events}`);
  await db.run("create table held_back (id bigint)");
  if (heldBack.length > 0) await db.run(`insert into held_back values ${heldBack.map((id) => `(${id})`).join(",")}`);
  await loadParquet(db, "raw", `${output}/flights`, { ...flightColumns, day: "varchar" });
  await loadParquet(db, "raw_late", `${output}/flights-late`, flightColumns);
  await loadParquet(db, "raw_windows", `${output}/hourly-delays`, windowColumns);
  // milliseconds, so that it doesn't matter how a timestamp's zone is written
  await db.run("create table flights as select * replace (epoch_ms(date) as date) from raw");
  await db.run("create table late as select * replace (epoch_ms(date) as date) from raw_late");
  await db.run(`create table windows as
    select * replace (epoch_ms("windowStart") as "windowStart", epoch_ms("windowEnd") as "windowEnd") from raw_windows`);
  for (const [index, { seenFile }] of queues.entries()) {
    await db.run(`create table seen${index} as select * from read_csv(${quoted(seenFile)}, header = true,
      columns = {'id': 'bigint', 'deliveries': 'bigint', 'unmarked': 'bigint'})`);
  }
}

/** A folder without files is a table without rows: everything is lost then, which the checks will say. */
async function loadParquet(db: DuckDb, table: string, folder: string, columns: Readonly<Record<string, string>>): Promise<void> {
  const files = quoted(`${folder}/**/*.parquet`);
  if ((await db.number(`select count(*) from glob(${files})`)) > 0) {
    const names = Object.keys(columns).map((name) => `"${name}"`);
    const source = `read_parquet(${files}, hive_partitioning = true, hive_types_autocast = false)`;
    return db.run(`create table ${table} as select ${names.join(", ")} from ${source}`);
  }
  const typed = Object.entries(columns).map(([name, type]) => `"${name}" ${type}`);
  await db.run(`create table ${table} (${typed.join(", ")})`);
}

/** What holds for every folder of flights: each at most once, and as it was. */
function flightChecks(table: "flights" | "late"): Check[] {
  const stage = table === "flights" ? "raw flights" : "late flights";
  return [
    {
      stage,
      kind: "duplicate",
      what: "kept more than once",
      sql: `select id, count(*) as times from ${table} group by id having count(*) > 1`,
    },
    {
      stage,
      kind: "wrong",
      what: "never published",
      sql: `select * from ${table} anti join original using (id)`,
    },
    {
      stage,
      kind: "wrong",
      what: "different from the original",
      sql: `select id, kept as kept_row, o as original_row from
        (select id, struct_pack(date, delay, distance, origin, destination) as kept from ${table})
        join (select id, struct_pack(date, delay, distance, origin, destination) as o from original) using (id) where kept is distinct from o`,
    },
  ];
}

const rawChecks: readonly Check[] = [
  { stage: "raw flights", kind: "lost", what: "published and not kept", sql: "select * from original anti join flights using (id)" },
  {
    stage: "raw flights",
    kind: "wrong",
    what: "in another day's folder",
    sql: `select id, day, strftime(make_timestamp(date * 1000), '%Y-%m-%d') as expected from flights
      where day is distinct from strftime(make_timestamp(date * 1000), '%Y-%m-%d')`,
  },
];

const lateChecks: readonly Check[] = [
  {
    stage: "late flights",
    kind: "lost",
    what: "held back and not in the late set",
    sql: "select o.* from original o semi join held_back using (id) anti join late using (id)",
  },
];

/** Every hour of every airport again, from the original without the late flights. */
const expectedWindows = `select origin, date // ${HOUR_MS} * ${HOUR_MS} as "windowStart", count(*) as flights, avg(delay) as "meanDelay",
  max(delay) as worst from original anti join late using (id) group by all`;

const windowChecks: readonly Check[] = [
  {
    stage: "hourly windows",
    kind: "lost",
    what: "an airport's hour is missing",
    sql: `select * from (${expectedWindows}) anti join windows using (origin, "windowStart")`,
  },
  {
    stage: "hourly windows",
    kind: "duplicate",
    what: "an airport's hour occurs more than once",
    sql: `select origin, "windowStart", count(*) as times from windows group by all having count(*) > 1`,
  },
  {
    stage: "hourly windows",
    kind: "wrong",
    what: "an airport's hour without flights",
    sql: `select * from windows anti join (${expectedWindows}) using (origin, "windowStart")`,
  },
  {
    stage: "hourly windows",
    kind: "wrong",
    what: "other values than SQL over the original",
    // a mean may differ in its last digits: the order of additions is not part of the result
    sql: `select w.*, e.flights as "expectedFlights", e."meanDelay" as "expectedMeanDelay", e.worst as "expectedWorst"
      from windows w join (${expectedWindows}) e using (origin, "windowStart")
      where w.flights is distinct from e.flights or w.worst is distinct from e.worst or w."windowEnd" is distinct from w."windowStart" + ${HOUR_MS}
      or w."meanDelay" is null or abs(w."meanDelay" - e."meanDelay") > 1e-12 * greatest(1, abs(e."meanDelay"))`,
  },
];

function queueChecks({ name, column, airport }: QueueEvidence, seen: string): Check[] {
  const expected = `(select * from original where ${column} = ${quoted(airport)})`;
  return [
    { stage: name, kind: "lost", what: "never delivered", sql: `select * from ${expected} anti join ${seen} using (id)` },
    { stage: name, kind: "wrong", what: "delivered to the wrong queue", sql: `select * from ${seen} anti join ${expected} using (id)` },
    { stage: name, kind: "duplicate", what: "delivered again, not marked", sql: `select * from ${seen} where unmarked > 0` },
  ];
}

/** A sink must not leave anything of its own between the results. */
async function leftBehind(output: string): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const folder of ["flights", "hourly-delays", "flights-late"]) {
    const entries = await readdir(`${output}/${folder}`, { recursive: true, withFileTypes: true }).catch(() => []);
    const others = entries.filter((entry) => entry.isFile() && !entry.name.endsWith(".parquet"));
    if (others.length === 0) continue;
    const firstRows = others.slice(0, FIRST_ROWS).map((entry) => ({ file: `${entry.parentPath}/${entry.name}` }));
    findings.push({ stage: folder, kind: "wrong", what: "files that are no result", count: others.length, firstRows });
  }
  return findings;
}
