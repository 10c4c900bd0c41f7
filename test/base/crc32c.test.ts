import { crc32c as native } from "@node-rs/crc32";
import { expect, test } from "vitest";
import { crc32c, crc32cRange } from "../../src/base/crc32c.ts";
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
