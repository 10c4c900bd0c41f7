import { describe, expect, test } from "vitest";
import { day, hour, month } from "../../../connectors/parquet/index.ts";
import { Random } from "../../../src/base/random.ts";

describe("day, hour and month of a time", () => {
  test("are UTC, whatever the machine's zone", () => {
    const time = new Date("2001-01-31T23:59:59.999Z");
    expect([month(time), day(time), hour(time)]).toEqual(["2001-01", "2001-01-31", "2001-01-31T23"]);
    const next = new Date("2001-02-01T00:00:00Z");
    expect([month(next), day(next), hour(next)]).toEqual(["2001-02", "2001-02-01", "2001-02-01T00"]);
    expect(day(new Date("1969-12-31T23:00:00Z"))).toBe("1969-12-31");
    expect(hour(new Date(-1))).toBe("1969-12-31T23");
    expect(day(new Date(Date.UTC(12_345, 0, 2)))).toBe("+012345-01-02");
  });

  test("of a zone", () => {
    const time = new Date("2001-07-01T02:30:00Z");
    expect(day(time, "America/Los_Angeles")).toBe("2001-06-30");
    expect(month(time, "America/Los_Angeles")).toBe("2001-06");
    expect(hour(time, "Asia/Kathmandu")).toBe("2001-07-01T08");
    expect(day(new Date("2001-12-31T23:30:00Z"), "Europe/Berlin")).toBe("2002-01-01");
    expect(hour(new Date("2001-07-01T22:10:00Z"), "Europe/Berlin")).toBe("2001-07-02T00");
  });

  const seed = 20_010_101;
  test(`are what the calendar says, in any order of calls (seed ${seed})`, () => {
    const random = new Random(seed);
    for (const zone of ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Europe/Amsterdam", "America/St_Johns"]) {
      // Swedish writes dates as ISO 8601 does
      const options = { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", hourCycle: "h23" } as const;
      const oracle = new Intl.DateTimeFormat("sv-SE", options);
      let ms = Date.UTC(1915 + random.below(100), random.below(12), 1);
      for (let i = 0; i < 300; i++) {
        ms += random.pick([1, 999, 20_000, 3_600_000, -3_600_000, 86_400_000 * 40]);
        const [date, hourOfDay] = oracle.format(ms).split(" ") as [string, string];
        expect(hour(new Date(ms), zone), `${ms} ${zone}`).toBe(`${date}T${hourOfDay.slice(0, 2)}`);
        expect(day(new Date(ms), zone), `${ms} ${zone}`).toBe(date);
        expect(month(new Date(ms), zone), `${ms} ${zone}`).toBe(date.slice(0, 7));
      }
    }
  });

  test("refuse what is no time and what is no zone", () => {
    expect(() => day(new Date("nonsense"))).toThrow(expect.objectContaining({ code: "ROW_REFUSED" }));
    expect(() => day(new Date(0), "Mars/Olympus")).toThrow(expect.objectContaining({ code: "UNKNOWN_TIME_ZONE" }));
  });
});
