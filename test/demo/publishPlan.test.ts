import fc from "fast-check";
import { expect, test } from "vitest";
import { chooseHeldBack, PublishPlan } from "../../demo/publishPlan.ts";
import { Random } from "../../src/base/random.ts";

const MINUTE = 60_000;
const DISORDER_MS = 100 * MINUTE;
const HELD_BACK_MS = 600 * MINUTE;

/** Flights some minutes apart; several a minute. */
function datesOf(gapsMinutes: readonly number[]): Float64Array {
  let date = Date.UTC(2001, 0, 1);
  return Float64Array.from(gapsMinutes, (gap) => {
    date += gap * MINUTE;
    return date;
  });
}

test("whatever is confirmed or lost when: all are published, the bound holds, and what was held back comes long after its time", () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 400 });
  fc.assert(
    fc.property(gaps, fc.nat(), (gapsMinutes, seed) => {
      const random = new Random(seed);
      const dates = datesOf(gapsMinutes);
      const count = dates.length;
      const date = (id: number): number => dates[id] as number;
      const heldBack = chooseHeldBack(dates, count, { oneIn: 8, heldBackMs: HELD_BACK_MS, random });
      const plan = new PublishPlan({ dates, count, disorderMs: DISORDER_MS, heldBack, heldBackMs: HELD_BACK_MS });
      const inFlight = new Set<number>();
      const unconfirmed = new Set<number>(); // published at least once
      const confirmed = new Set<number>();
      let newest = Number.NEGATIVE_INFINITY;
      let lost: number[] = [];

      const publish = (id: number): void => {
        expect(confirmed.has(id) || inFlight.has(id)).toBe(false);
        if (lost.length > 0)
          expect(id).toBe(lost.shift()); // what was lost comes first, the oldest before the others
        else if (heldBack.includes(id)) expect(newest - date(id)).toBeGreaterThanOrEqual(HELD_BACK_MS);
        else newest = Math.max(newest, date(id));
        inFlight.add(id);
        unconfirmed.add(id);
        for (const open of unconfirmed) if (!heldBack.includes(open)) expect(newest - date(open)).toBeLessThan(DISORDER_MS);
      };
      for (let step = 0; confirmed.size < count; step++) {
        expect(step).toBeLessThan(20_000);
        const chance = random.next();
        const next = chance < 0.6 ? plan.next() : undefined;
        if (next !== undefined) publish(next);
        else if (chance < 0.97) {
          const id = random.pick([...inFlight]);
          if (id === undefined) continue;
          inFlight.delete(id);
          unconfirmed.delete(id);
          confirmed.add(id);
          plan.confirm(id);
        } else {
          const some = [...inFlight].filter(() => random.next() < 0.5);
          plan.lose(some);
          for (const id of some) inFlight.delete(id);
          lost = [...lost, ...some].sort((a, b) => a - b);
        }
      }
      expect(plan.done).toBe(true);
      expect(plan.next()).toBeUndefined();
    }),
    { numRuns: 200 },
  );
});

test("the cursor waits at the limit until it is moved", () => {
  const dates = datesOf([1, 1, 1, 1]);
  const plan = new PublishPlan({ dates, count: 4, disorderMs: DISORDER_MS, heldBack: [], heldBackMs: HELD_BACK_MS });
  plan.limit = 2;
  expect([plan.next(), plan.next(), plan.next()]).toEqual([0, 1, undefined]);
  plan.limit = 4;
  expect([plan.next(), plan.next(), plan.next()]).toEqual([2, 3, undefined]);
});

test("a confirm that comes twice counts once", () => {
  const plan = new PublishPlan({ dates: datesOf([1, 1]), count: 2, disorderMs: DISORDER_MS, heldBack: [], heldBackMs: HELD_BACK_MS });
  plan.next();
  plan.confirm(0);
  plan.confirm(0);
  expect([plan.confirmed, plan.done]).toEqual([1, false]);
});

test("held back are only flights that become due before the end, the same ones for the same seed", () => {
  const dates = datesOf(Array.from({ length: 5_000 }, () => 1));
  const choose = (seed: number): number[] =>
    chooseHeldBack(dates, dates.length, { oneIn: 50, heldBackMs: HELD_BACK_MS, random: new Random(seed) });
  const chosen = choose(1);
  expect(chosen).toEqual(choose(1));
  expect(chosen).not.toEqual(choose(2));
  expect(chosen.length).toBeGreaterThan(50);
  expect(Math.max(...chosen)).toBeLessThan(5_000 - 600);
});
