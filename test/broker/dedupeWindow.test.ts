import { expect, test } from "vitest";
import { Random } from "../../src/base/random.ts";
import { type DedupeLimit, DedupeWindow } from "../../src/broker/dedupeWindow.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
const idsMax = 5000;

/** The last ones, the oldest first; looks through all of them each time. */
class NaiveWindow {
  kept: { id: string; position: number; timestamp: number }[] = [];

  constructor(private readonly limit: DedupeLimit) {}

  find(id: string, now: number): number | undefined {
    const { limit } = this;
    const inside = this.kept.filter(({ timestamp }) => limit.kind === "count" || timestamp >= now - limit.ms);
    return inside.findLast((one) => one.id === id)?.position;
  }

  remember(id: string, position: number, timestamp: number): void {
    this.kept = [...this.kept, { id, position, timestamp }].slice(this.limit.kind === "count" ? -this.limit.idsMax : -idsMax);
  }
}

test.each<DedupeLimit>([
  { kind: "count", idsMax: 50 },
  { kind: "time", ms: 300 },
])(`a window finds what one that looks through everything finds, and each position leaves once (%o, SEED=${seed})`, (limit) => {
  const random = new Random(seed);
  const gone = new Map<number, number>();
  const window = new DedupeWindow(limit, idsMax, (position) => gone.set(position, (gone.get(position) ?? 0) + 1));
  const naive = new NaiveWindow(limit);
  const remembered = new Set<number>();
  let now = 1000;
  let next = 0;
  for (let step = 0; step < 5000; step++) {
    now += random.below(20) === 0 ? random.below(400) : random.below(3);
    const id = `id-${random.below(200)}`;
    const found = window.find(id, now);
    expect(found, `${id} at ${now}`).toBe(naive.find(id, now));
    if (found === undefined) {
      window.remember(id, next, now);
      naive.remember(id, next, now);
      remembered.add(next++);
    }
    if (random.below(300) === 0) {
      const from = next - random.below(5);
      window.forgetFrom(from);
      naive.kept = naive.kept.filter(({ position }) => position < from);
      for (let position = from; position < next; position++) remembered.delete(position);
    }
    if (random.below(50) === 0) window.tidy(now);
  }
  const left = window.takeAll();
  expect(left.filter((position) => gone.has(position))).toEqual([]);
  expect([...gone.values()].every((times) => times === 1)).toBe(true);
  const away = new Set([...gone.keys(), ...left]);
  expect([...remembered].filter((position) => !away.has(position))).toEqual([]);
});

test("a hundred thousand ids that are too old at the same moment leave in slices, and are not found meanwhile", () => {
  let gone = 0;
  const window = new DedupeWindow({ kind: "time", ms: 1000 }, 1_000_000, () => gone++);
  for (let n = 0; n < 100_000; n++) window.remember(`id-${n}`, n, 0);
  expect(window.find("id-99999", 1000)).toBe(99_999);
  for (let turns = 1; window.tidy(1001) !== undefined; turns++) {
    expect(gone).toBeLessThanOrEqual(1000 * (2 * turns));
    expect(window.find("id-99999", 1001)).toBeUndefined();
  }
  expect(gone).toBe(100_000);
});
