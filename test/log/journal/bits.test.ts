import { expect, test } from "vitest";
import { Random } from "../../../src/base/random.ts";
import { clearBits, countBits, hasBit, nextBit, setBits } from "../../../src/log/journal/segments/bits.ts";

const seed = 7;

test(`ranges of bits, beside a list of booleans (seed ${seed})`, () => {
  const random = new Random(seed);
  for (let round = 0; round < 300; round++) {
    const size = 1 + random.below(round % 10 === 0 ? 2000 : 70);
    // also such that don't begin at a word
    const bits = new Uint8Array(new ArrayBuffer(Math.ceil(size / 8) + 8), random.below(5), Math.ceil(size / 8));
    const model = Array.from({ length: size }, () => false);
    for (let step = 0; step < 20; step++) {
      const from = random.below(size + 1);
      const to = from + random.below(size - from + 1);
      const exceptModel = Array.from({ length: size }, () => random.below(3) === 0);
      const except = random.below(2) === 0 ? undefined : new Uint8Array(bits.length);
      if (except !== undefined) exceptModel.forEach((one, at) => void (one && ((except[at >>> 3] as number) |= 1 << (at & 7))));
      const spared = (at: number): boolean => except !== undefined && (exceptModel[at] as boolean);
      if (random.below(2) === 0) {
        setBits(bits, from, to, except);
        for (let at = from; at < to; at++) if (!spared(at)) model[at] = true;
      } else {
        clearBits(bits, from, to, except);
        for (let at = from; at < to; at++) if (!spared(at)) model[at] = false;
      }
      expect(Array.from(model, (_, at) => hasBit(bits, at))).toEqual(model);
      expect(countBits(bits, from, to)).toBe(model.slice(from, to).filter(Boolean).length);
      const next = model.findIndex((one, at) => at >= from && at < to && one && !spared(at));
      expect(nextBit(bits, from, to, except)).toBe(next === -1 ? to : next);
    }
  }
});
