import { crc32c as native } from "@node-rs/crc32";
import { expect, test } from "vitest";
import { crc32c, crc32cFollowedBy, crc32cGoingOn, crc32cInPieces, crc32cRange } from "../../src/base/crc32c.ts";
import { crc32cJoined } from "../../src/base/crc32cJoin.ts";
import { Random } from "../../src/base/random.ts";

test("CRC-32C of the standard's check string", () => {
  expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
});

test("short and long ranges agree with the native library at any alignment", () => {
  const random = new Random(1);
  const bytes = Buffer.from(Array.from({ length: 2000 }, () => random.below(256)));
  for (let n = 0; n < 2000; n++) {
    const start = random.below(900);
    const end = start + random.below(1000);
    expect(crc32cRange(bytes, start, end), `${start} to ${end}`).toBe(native(bytes.subarray(start, end)));
  }
});

test("two parts together have the checksum that is joined of theirs, or goes on from the first", () => {
  const random = new Random(2);
  const bytes = Buffer.from(Array.from({ length: 200_000 }, () => random.below(256)));
  for (let n = 0; n < 500; n++) {
    const middle = random.below(1000);
    // short ones, and longer ones than those whose shift is remembered
    const end = middle + (n % 10 === 0 ? random.below(bytes.length - middle) : random.below(2000));
    const whole = native(bytes.subarray(0, end));
    const first = native(bytes.subarray(0, middle));
    expect(crc32cJoined(first, native(bytes.subarray(middle, end)), end - middle), `${middle} and ${end - middle}`).toBe(whole);
    expect(crc32cGoingOn(first, bytes, middle, end), `${middle} and ${end - middle}`).toBe(whole);
    expect(crc32cFollowedBy(first, bytes.subarray(middle, end)), `${middle} and ${end - middle}`).toBe(whole);
  }
});

test("in pieces it is the same, and after each 512 KiB its caller has a turn", () => {
  const bytes = Buffer.alloc(3_000_000, "abcdefg");
  const piece = 512 * 1024;
  for (const length of [0, 1, 500, piece - 1, piece, piece + 1, 2 * piece, 2_900_000]) {
    const sum = crc32cInPieces(bytes, 7, 7 + length);
    let turns = 0;
    let turn = sum.next();
    for (; turn.done !== true; turn = sum.next()) turns++;
    expect([length, turn.value, turns]).toEqual([
      length,
      native(bytes.subarray(7, 7 + length)),
      Math.max(Math.ceil(length / piece) - 1, 0),
    ]);
  }
});
