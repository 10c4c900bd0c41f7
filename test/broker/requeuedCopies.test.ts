import { expect, test } from "vitest";
import type { Copy } from "../../src/broker/copy.ts";
import { RequeuedCopies } from "../../src/broker/requeuedCopies.ts";

const copy = (offset: number): Copy => ({ offset, position: offset * 100, bytes: 1, durable: true, redelivered: true, content: undefined });

test("the first who asks where a copy is gets the right answer, also when copies came back in no order", () => {
  for (const asked of [1, 5, 9]) {
    const copies = new RequeuedCopies();
    for (const offset of [5, 9, 1]) copies.add(copy(offset));
    expect(copies.positionOf(asked)).toBe(asked * 100);
    expect(copies.positionOf(7)).toBeUndefined();
  }
});

test("the first who moves one moves that one", () => {
  const copies = new RequeuedCopies();
  for (const offset of [5, 9, 1]) copies.add(copy(offset));
  expect(copies.move(9, -7)).toBe(true);
  expect([1, 5, 9].map((offset) => copies.positionOf(offset))).toEqual([100, 500, -7]);
});
