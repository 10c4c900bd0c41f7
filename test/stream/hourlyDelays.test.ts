import { testPipeline } from "millrace/testing";
import { expect, test } from "vitest";
import { flights } from "../../pipelines/flight.ts";
import hourlyDelays from "../../pipelines/hourly-delays.ts";

let id = 0;
const flight = (origin: string, time: string, delay: number) => ({
  id: id++,
  date: new Date(`2001-01-01T${time}Z`),
  delay,
  distance: 337,
  origin,
  destination: "LAX",
});

test("one row an airport and hour", async () => {
  await using t = await testPipeline(hourlyDelays);
  await t.send(flights, [flight("SFO", "00:10", 7), flight("SFO", "00:50", 3), flight("JFK", "00:20", -2), flight("SFO", "01:00", 90)]);
  await t.advanceWatermark("2001-01-01T01:00Z");
  const hour = { windowStart: new Date("2001-01-01T00:00Z"), windowEnd: new Date("2001-01-01T01:00Z") };
  expect(t.rows("hourly-delays")).toEqual([
    { origin: "JFK", ...hour, flights: 1, meanDelay: -2, worst: -2 },
    { origin: "SFO", ...hour, flights: 2, meanDelay: 5, worst: 7 },
  ]);
  expect(t.rows("flights")).toHaveLength(4);
  expect(t.late("late")).toEqual([]);
  await t.crashAtEveryRecord();
});
