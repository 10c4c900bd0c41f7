import fc from "fast-check";
import { expect, test } from "vitest";
import {
  sizeOfVarint,
  sizeOfVarlong,
  VARINT_BYTES_MAX,
  VARLONG_BYTES_MAX,
  VarintReader,
  writeVarint,
  writeVarlong,
} from "../../src/record/varint.ts";

function readerOf(bytes: Uint8Array): VarintReader {
  const reader = new VarintReader(bytes);
  reader.end = bytes.length;
  return reader;
}

/** The definition, in 64-bit arithmetic. */
function byDefinition(value: number): number[] {
  let zigzag = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n));
  const bytes: number[] = [];
  for (; zigzag >= 128n; zigzag >>= 7n) bytes.push(Number(zigzag & 127n) | 128);
  return [...bytes, Number(zigzag)];
}

const int32 = fc.oneof(fc.integer(), fc.constantFrom(0, -1, 1, 63, 64, -64, -65, 2 ** 31 - 1, -(2 ** 31)));
const safeInteger = fc.oneof(fc.maxSafeInteger(), int32, fc.constantFrom(Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER, 2 ** 31));

test("a varint is written and read as the format defines it", () => {
  fc.assert(
    fc.property(int32, (value) => {
      const bytes = new Uint8Array(VARINT_BYTES_MAX);
      const end = writeVarint(bytes, 0, value);
      expect([...bytes.subarray(0, end)]).toEqual(byDefinition(value));
      expect(sizeOfVarint(value)).toBe(end);
      expect(readerOf(bytes).varint()).toBe(value);
    }),
  );
});

test("a varlong is written and read as the format defines it", () => {
  fc.assert(
    fc.property(safeInteger, (value) => {
      const bytes = new Uint8Array(VARLONG_BYTES_MAX);
      const end = writeVarlong(bytes, 0, value);
      expect([...bytes.subarray(0, end)]).toEqual(byDefinition(value));
      expect(sizeOfVarlong(value)).toBe(end);
      expect(readerOf(bytes).varlong()).toBe(value);
    }),
    { numRuns: 1000 },
  );
});

test("a number without an end, or too long, is refused", () => {
  const refused = expect.objectContaining({ code: "RECORD_CORRUPT" }) as Error;
  expect(() => readerOf(Uint8Array.of(0x80)).varint()).toThrow(refused);
  expect(() => readerOf(Uint8Array.of()).varlong()).toThrow(refused);
  expect(() => readerOf(Uint8Array.of(0x80, 0x80)).varlong()).toThrow(refused);
  expect(() => readerOf(new Uint8Array(20).fill(0x80)).varint()).toThrow(refused);
  expect(() => readerOf(new Uint8Array(20).fill(0x80)).varlong()).toThrow(refused);
  expect(() => readerOf(new Uint8Array(20).fill(0xff)).varlong()).toThrow(refused);
});
