import fc from "fast-check";
import { expect, test } from "vitest";
import type { QueueHandle } from "../../../src/broker/contract.ts";
import { type Holder, Unacked } from "../../../src/protocol/amqp/unacked.ts";

const queue = {} as QueueHandle;
const holders: (Holder & { held: number })[] = [0, 1, 2].map(() => ({
  queue,
  held: 0,
  settled() {
    this.held--;
  },
}));

/** How far the next tag is: gaps are deliveries without acknowledgement. */
const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("add" as const),
      gap: fc.constantFrom(1, 1, 1, 1, 2, 700),
      count: fc.integer({ min: 1, max: 90 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("one" as const), which: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("most" as const), spare: fc.integer({ min: 0, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("through" as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("unknown" as const), tag: fc.nat({ max: 5000 }) }) },
);

test("unacknowledged deliveries are kept as a plain map keeps them", () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const unacked = new Unacked();
      const model = new Map<number, { holder: Holder; offset: number }>();
      for (const holder of holders) holder.held = 0;
      let tag = 0;
      const settled: [Holder, number][] = [];
      const settle = (holder: Holder, offset: number) => void settled.push([holder, offset]);
      const expected = (tags: number[]): void => {
        expect(settled.splice(0)).toEqual(tags.map((each) => [model.get(each)?.holder, model.get(each)?.offset]));
        for (const each of tags) model.delete(each);
        expect(unacked.count).toBe(model.size);
        expect(holders.reduce((sum, holder) => sum + holder.held, 0)).toBe(model.size);
      };
      for (const operation of operations) {
        const tags = [...model.keys()];
        const pick = (which: number): number => tags[which % tags.length] ?? 0;
        if (operation.kind === "add") {
          for (let i = 0; i < operation.count; i++) {
            tag += operation.gap;
            const holder = holders[tag % 3] as (typeof holders)[number];
            holder.held++;
            unacked.add(tag, holder, tag * 10);
            model.set(tag, { holder, offset: tag * 10 });
          }
        } else if (operation.kind === "most") {
          // all but the oldest few: what stretches the ring
          for (const each of tags.slice(operation.spare)) {
            expect(unacked.take(each, settle)).toBe(true);
            expected([each]);
          }
        } else if (operation.kind === "through") {
          const through = tags.filter((each) => each <= pick(operation.which));
          expect(unacked.takeThrough(pick(operation.which), settle)).toBe(through.length > 0);
          expected(through);
        } else {
          const each = operation.kind === "one" ? pick(operation.which) : operation.tag;
          expect(unacked.take(each, settle)).toBe(model.has(each));
          expected(model.has(each) ? [each] : []);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("a few old ones among very many newer ones", () => {
  const unacked = new Unacked();
  const holder = { queue, settled: () => undefined };
  let settled = 0;
  for (let tag = 1; tag <= 300_000; tag++) {
    unacked.add(tag, holder, tag);
    if (tag % 50_000 !== 1) unacked.take(tag, () => settled++);
  }
  expect([unacked.count, settled]).toEqual([6, 299_994]);
  const left: number[] = [];
  unacked.takeThrough(300_000, (_holder, offset) => left.push(offset));
  expect(left).toEqual([1, 50_001, 100_001, 150_001, 200_001, 250_001]);
});
