import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { packState, unpackState } from "../../src/stream/checkpoint/stateJson.ts";
import { DecodeProblem, JsonCodec } from "../../src/stream/schema/jsonCodec.ts";
import { shapeOf } from "../../src/stream/schema/shape.ts";

const Everything = z.object({
  text: z.string(),
  whole: z.int(),
  small: z.int32(),
  number: z.number(),
  big: z.bigint(),
  yes: z.boolean(),
  at: z.date(),
  maybe: z.date().nullable(),
  missing: z.bigint().optional(),
  nested: z.object({ times: z.array(z.date()), n: z.bigint() }),
});
type Everything = z.infer<typeof Everything>;
const codec = new JsonCodec<Everything>(Everything);

const dates = fc.date({ noInvalidDate: true, min: new Date("0001-01-01T00:00:00Z"), max: new Date("9999-12-31T23:59:59Z") });
const text = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("\uE000n12345678901234567890", "\uE000", '12345678901234567890"', "\\"),
);
const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => (Object.is(value, -0) ? 0 : value));
const everything = fc.record({
  text,
  whole: fc.maxSafeInteger(),
  small: fc.integer(),
  number,
  big: fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }),
  yes: fc.boolean(),
  at: dates,
  maybe: fc.option(dates),
  nested: fc.record({ times: fc.array(dates, { maxLength: 3 }), n: fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }) }),
});

describe("a topic's codec", () => {
  test("gives back what it was given: dates, bigints above 2^53, any text", () => {
    fc.assert(
      fc.property(everything, (value) => {
        expect(codec.decode(codec.encode(value))).toEqual(value);
      }),
    );
  });

  test("keeps numbers of many digits numbers, beside a bigint", () => {
    const decoded = new JsonCodec(z.object({ n: z.number(), big: z.bigint() })).decode(
      '{"n": 0.12345678901234567890, "big": 12345678901234567890}',
    );
    expect(decoded).toEqual({ n: 0.12345678901234568, big: 12345678901234567890n });
    const long = new JsonCodec(z.object({ n: z.number(), big: z.bigint() })).decode('{"n":12345678901234567890,"big":-12345678901234567}');
    expect(long).toEqual({ n: Number("12345678901234567890"), big: -12345678901234567n });
  });

  test.each([
    ["2001-01-01T00:10:00Z", "2001-01-01T00:10:00.000Z"],
    ["2001-01-01T00:10:00", "2001-01-01T00:10:00.000Z"],
    ["2001-01-01 00:10", "2001-01-01T00:10:00.000Z"],
    ["2001-01-01T00:10:00.123456", "2001-01-01T00:10:00.123Z"],
    ["2001-01-01T00:10:00+02:00", "2000-12-31T22:10:00.000Z"],
    ["2001-01-01", "2001-01-01T00:00:00.000Z"],
    [978307200000, "2001-01-01T00:00:00.000Z"],
  ])("reads the time %s as UTC unless it says otherwise", (written, meant) => {
    const decoded = new JsonCodec(z.object({ at: z.date() })).decode(JSON.stringify({ at: written }));
    expect(decoded).toEqual({ at: new Date(meant) });
  });

  test("reads every time as Date does, the usual spelling by itself", () => {
    const at = new JsonCodec(z.object({ at: z.date() }));
    const shapes = fc.stringMatching(/^\d{4}-[0-3]\d-[0-3]\dT[0-2]\d:[0-6]\d:[0-6]\d(\.\d{3})?Z$/);
    fc.assert(
      fc.property(
        fc.oneof(
          shapes,
          dates.map((date) => date.toISOString()),
        ),
        (written) => {
          const meant = new Date(written);
          const decoded = at.decode(JSON.stringify({ at: written }));
          if (Number.isNaN(meant.getTime())) expect(decoded).toMatchObject({ code: "SCHEMA_BREAK" });
          else expect(decoded).toEqual({ at: meant });
        },
      ),
      { numRuns: 2000 },
    );
  });

  test.each(["Jan 1 2001", "2001-13-01T00:00:00Z", "now", "", true, null])("takes %j for no time", (written) => {
    const decoded = new JsonCodec(z.object({ at: z.date() })).decode(JSON.stringify({ at: written }));
    expect(decoded).toMatchObject({ code: "SCHEMA_BREAK", message: expect.stringMatching(/^at: /) });
  });

  test.each(["", "{", "nonsense", '{"n": 12345678901234567890'])("says of %j that it is no JSON", (broken) => {
    const problem = new JsonCodec(z.object({ n: z.bigint() })).decode(broken);
    expect(problem).toBeInstanceOf(DecodeProblem);
    expect(problem).toMatchObject({ code: "INVALID_JSON" });
  });
});

test("a schema's columns", () => {
  const { columns, withoutColumn } = shapeOf(Everything);
  expect(columns?.map(({ name, type, optional }) => `${name} ${type}${optional ? "?" : ""}`)).toEqual([
    "text string",
    "whole int64",
    "small int32",
    "number double",
    "big int64",
    "yes boolean",
    "at timestamp",
    "maybe timestamp?",
    "missing int64?",
  ]);
  expect(withoutColumn).toEqual(["nested"]);
});

test("operators' states go through JSON without loss", () => {
  const value: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 3 },
      fc.double(),
      fc.string(),
      fc.boolean(),
      fc.bigInt(),
      dates,
      fc.constant(null),
      fc.array(tie("any"), { maxLength: 3 }),
      fc.dictionary(
        fc.oneof(fc.string(), fc.constantFrom("$date", "$bigint", "$number", "$object")).filter((name) => name !== "__proto__"),
        tie("any"),
        {
          noNullPrototype: true,
          maxKeys: 3,
        },
      ),
    ),
  })).any;
  fc.assert(
    fc.property(value, (state) => {
      expect(unpackState(JSON.parse(JSON.stringify(packState(state))))).toEqual(state);
    }),
  );
});
