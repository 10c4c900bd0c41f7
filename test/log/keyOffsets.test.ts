import { describe, expect, test } from "vitest";
import { nextTurn } from "../../src/base/nextTurn.ts";
import { Random } from "../../src/base/random.ts";
import { KeyOffsets } from "../../src/log/embedded/compaction/keyOffsets.ts";

const keyOf = (random: Random): Buffer => {
  const length = random.pick([0, 1, 2, 3, 8, 20, 47, 48, 49, 100, 1023, 1024, 1025, 3000]);
  return Buffer.alloc(length, `${random.below(40)}`);
};

describe("what compaction remembers of keys", () => {
  test.each([1, 2, 3, 4, 5])("is what a Map holds, for keys of any length, until it is full (seed %i)", async (seed) => {
    const random = new Random(seed);
    const offsets = await KeyOffsets.create(200_000, nextTurn);
    const model = new Map<string, number>();
    for (let offset = 0; offset < 3000; offset++) {
      const key = keyOf(random);
      const around = Buffer.concat([Buffer.from("before"), key, Buffer.from("after")]);
      expect(offsets.set(around, 6, key.length, offset)).toBe(true);
      model.set(key.toString(), offset);
      const asked = keyOf(random);
      expect(offsets.get(asked, 0, asked.length)).toBe(model.get(asked.toString()) ?? -1);
    }
    expect(offsets.size).toBe(model.size);
  });

  test("takes at least one key, whatever its length, and goes on knowing what it took when it is full", async () => {
    for (const keyBytes of [3, 1024, 100_000]) {
      const offsets = await KeyOffsets.create(1, nextTurn);
      const keys = Array.from({ length: 200 }, (_, i) => Buffer.alloc(keyBytes, `${String(i).padStart(3, "0")}`));
      const taken = keys.filter((key, i) => offsets.set(key, 0, key.length, i)).length;
      expect(taken).toBeGreaterThanOrEqual(1);
      expect(taken).toBeLessThan(200);
      expect(offsets.set(keys[0] as Buffer, 0, keyBytes, 777)).toBe(true);
      expect(keys.map((key) => offsets.get(key, 0, key.length))).toEqual(keys.map((_, i) => (i === 0 ? 777 : i < taken ? i : -1)));
    }
  });

  test("tells keys of the same hash apart", async () => {
    // in a full table of 64 slots every second key meets another one on its way
    const offsets = await KeyOffsets.create(2048, nextTurn);
    for (let i = 0; i < 48; i++) expect(offsets.set(Buffer.from([i]), 0, 1, i)).toBe(true);
    expect(offsets.set(Buffer.from([99]), 0, 1, 99)).toBe(false);
    for (let i = 0; i < 256; i++) expect(offsets.get(Buffer.from([i]), 0, 1)).toBe(i < 48 ? i : -1);
  });
});
