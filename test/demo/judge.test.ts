import { rm, writeFile } from "node:fs/promises";
import { afterEach, describe, expect, test } from "vitest";
import { type Evidence, type Finding, judge, type Verdict } from "../../demo/judge.ts";
import { type Doctor, EVENTS, outputOf } from "./perfectOutput.ts";

let evidence: Evidence | undefined;
afterEach(async () => {
  if (evidence !== undefined) await rm(evidence.output, { recursive: true });
  evidence = undefined;
});

async function verdictOn(doctor: Doctor, harm?: (evidence: Evidence) => Promise<void>): Promise<Verdict> {
  evidence = await outputOf(doctor);
  await harm?.(evidence);
  return judge(evidence);
}

const brief = (findings: readonly Finding[]): string[] =>
  findings.map(({ stage, kind, what, count }) => `${stage}, ${kind}: ${what} ${count}`);

test("a faultless output has no findings, and what is late besides the held back is counted", async () => {
  const { findings, raw, late, lateBesides, windows } = await verdictOn([]);
  expect(findings).toEqual([]);
  expect({ raw, late, lateBesides }).toEqual({ raw: EVENTS, late: 3, lateBesides: 1 });
  expect(windows).toBeGreaterThan(100);
});

describe("the judge finds", () => {
  const cases: readonly { name: string; doctor: Doctor; finds: readonly string[] }[] = [
    { name: "a lost flight", doctor: ["delete from flights where id = 5"], finds: ["raw flights, lost: published and not kept 1"] },
    {
      name: "a flight kept twice",
      doctor: ["insert into flights select * from flights where id = 5"],
      finds: ["raw flights, duplicate: kept more than once 1"],
    },
    {
      name: "a flight that was changed",
      doctor: ["update flights set delay = delay + 1 where id = 5"],
      finds: ["raw flights, wrong: different from the original 1"],
    },
    {
      name: "a flight's time moved by a millisecond",
      doctor: ["update flights set date = date + interval 1 millisecond where id = 5"],
      finds: ["raw flights, wrong: different from the original 1"],
    },
    {
      name: "a column that became null",
      doctor: ["update flights set distance = null where id = 5"],
      finds: ["raw flights, wrong: different from the original 1"],
    },
    {
      name: "a flight that nobody published",
      doctor: [`insert into flights select * replace (${EVENTS} as id) from flights where id = 5`],
      finds: ["raw flights, wrong: never published 1"],
    },
    {
      name: "a flight in another day's folder",
      doctor: ["update flights set day = '2001-01-02' where id = 5"],
      finds: ["raw flights, wrong: in another day's folder 1"],
    },
    {
      name: "a held back flight that is not late, though the windows count it",
      doctor: [
        "delete from late where id = 17",
        `create or replace table windows as select origin, date_trunc('hour', date) as "windowStart",
         date_trunc('hour', date) + interval 1 hour as "windowEnd", count(*) as flights, avg(delay) as "meanDelay", max(delay) as worst
         from flights where id not in (select id from late) group by all`,
      ],
      finds: ["late flights, lost: held back and not in the late set 1"],
    },
    {
      name: "a late flight kept twice",
      doctor: ["insert into late select * from late where id = 17"],
      finds: ["late flights, duplicate: kept more than once 1"],
    },
    {
      name: "a wrong mean",
      doctor: [
        `update windows set "meanDelay" = "meanDelay" + 0.000001 where origin = 'ATL' and "windowStart" = (select min("windowStart") from windows where origin = 'ATL')`,
      ],
      finds: ["hourly windows, wrong: other values than SQL over the original 1"],
    },
    {
      name: "a worst delay that is not the worst",
      doctor: [`update windows set worst = worst - 1 where rowid = 0`],
      finds: ["hourly windows, wrong: other values than SQL over the original 1"],
    },
    {
      name: "a window that ends too late",
      doctor: [`update windows set "windowEnd" = "windowEnd" + interval 1 hour where rowid = 0`],
      finds: ["hourly windows, wrong: other values than SQL over the original 1"],
    },
    {
      name: "a missing window",
      doctor: ["delete from windows where rowid = 0"],
      finds: ["hourly windows, lost: an airport's hour is missing 1"],
    },
    {
      name: "a window fired twice",
      doctor: ["insert into windows select * from windows where rowid = 0"],
      finds: ["hourly windows, duplicate: an airport's hour occurs more than once 1"],
    },
    {
      name: "a window of nothing",
      doctor: ["insert into windows select * replace ('XXX' as origin) from windows where rowid = 0"],
      finds: ["hourly windows, wrong: an airport's hour without flights 1"],
    },
    {
      name: "a delivery that never came",
      doctor: ["delete from arrivals where rowid = 0"],
      finds: ["arrivals.sfo, lost: never delivered 1"],
    },
    {
      name: "a delivery that came again without a mark",
      doctor: ["update arrivals set deliveries = 2, unmarked = 1 where rowid = 0"],
      finds: ["arrivals.sfo, duplicate: delivered again, not marked 1"],
    },
    {
      name: "a delivery that belongs elsewhere",
      doctor: ["insert into arrivals select id, 1, 0 from flights where destination <> 'SFO' limit 1"],
      finds: ["arrivals.sfo, wrong: delivered to the wrong queue 1"],
    },
  ];
  test.each(cases)("$name", async ({ doctor, finds }) => {
    const { findings } = await verdictOn(doctor);
    expect(brief(findings)).toEqual(finds);
    expect(findings[0]?.firstRows.length).toBe(1);
  });

  test("a folder that is empty", async () => {
    const { findings } = await verdictOn([], ({ output }) => rm(`${output}/flights`, { recursive: true }));
    expect(brief(findings)).toEqual([`raw flights, lost: published and not kept ${EVENTS}`]);
  });

  test("a temporary file that a sink left", async () => {
    const { findings } = await verdictOn([], ({ output }) => writeFile(`${output}/hourly-delays/.a.parquet.tmp`, ""));
    expect(brief(findings)).toEqual(["hourly-delays, wrong: files that are no result 1"]);
  });
});
