import { expect, test } from "vitest";
import { murmur2, partitionFor } from "../../src/record/partitioner.ts";

// the vectors of Kafka's own test of its hash
test.each([
  ["21", -973932308],
  ["foobar", -790332482],
  ["a-little-bit-long-string", -985981536],
  ["a-little-bit-longer-string", -1486304829],
  ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
  ["abc", 479470107],
])("murmur2 of %s is Kafka's", (key, hash) => {
  expect(murmur2(Buffer.from(key))).toBe(hash);
});

test("a negative hash gives a partition all the same", () => {
  expect(partitionFor(Buffer.from("21"), 4)).toBe((-973932308 & 0x7fffffff) % 4);
});
