import { aggregate, count, keyBy, max, mean, min, pipeline, sum, topic, tumbling } from "millrace";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { Random } from "../../src/base/random.ts";
import { runTask } from "../../src/stream/runTask.ts";
import { World } from "./support.ts";

const Reading = z.object({ sensor: z.string(), floor: z.int(), at: z.date(), value: z.number() });
type Reading = z.infer<typeof Reading>;
const readings = topic("readings", Reading);
const MINUTE = 60_000;
const OUT_OF_ORDER = 7 * MINUTE;
const SIZE = 10 * MINUTE;
const OFFSET = 3 * MINUTE;

const windowed = (world: World) =>
  pipeline("windows", ({ source, output, sink }) => {
    const late = output("late", Reading);
    const rows = source(readings, { eventTime: (reading) => reading.at, outOfOrderness: "7 min" }).pipe(
      keyBy("sensor", "floor"),
      tumbling("10 min", { late, offset: "3 min" }),
      aggregate({
        n: count(),
        total: sum((r) => r.value),
        average: mean((r) => r.value),
        least: min((r) => r.value),
        greatest: max((r) => r.value),
        last: max((r) => r.at),
      }),
    );
    sink(rows, world.sink("rows"));
    sink(late, world.sink("late"));
  });

/** Time goes on in each partition with disorder, some of it beyond what is allowed. */
function partitionOf(random: Random, length: number): Reading[] {
  let now = Date.UTC(2001, 0, 1);
  return Array.from({ length }, () => {
    now += random.below(2 * MINUTE);
    const behind = random.next() < 0.1 ? random.below(60 * MINUTE) : random.below(OUT_OF_ORDER);
    return { sensor: random.pick(["a", "b", "ü"]), floor: random.below(2), at: new Date(now - behind), value: random.below(1000) };
  });
}

/** What the engine promises, without its cleverness: one record at a time, from the partition that is furthest behind. */
function model(partitions: readonly (readonly Reading[])[]): { rows: unknown[]; late: Reading[] } {
  const heads = partitions.map(() => 0);
  const reached = partitions.map(() => Number.NEGATIVE_INFINITY);
  const windows = new Map<string, Reading[]>();
  const late: Reading[] = [];
  for (;;) {
    let next = -1;
    for (let p = 0; p < partitions.length; p++) {
      const left = (heads[p] as number) < (partitions[p] as Reading[]).length;
      if (left && (next < 0 || (reached[p] as number) < (reached[next] as number))) next = p;
    }
    if (next < 0) break;
    const watermark = Math.min(...reached) - OUT_OF_ORDER;
    const reading = partitions[next]?.[heads[next] as number] as Reading;
    heads[next] = (heads[next] as number) + 1;
    const time = reading.at.getTime();
    const start = Math.floor((time - OFFSET) / SIZE) * SIZE + OFFSET;
    if (start + SIZE <= watermark) late.push(reading);
    else {
      const key = JSON.stringify([start, reading.sensor, reading.floor]);
      windows.set(key, [...(windows.get(key) ?? []), reading]);
    }
    reached[next] = Math.max(reached[next] as number, time);
  }
  const rows = [...windows].map(([key, of]) => {
    const [start, sensor, floor] = JSON.parse(key) as [number, string, number];
    const values = of.map(({ value }) => value);
    const total = values.reduce((sum, value) => sum + value, 0);
    const last = new Date(Math.max(...of.map(({ at }) => at.getTime())));
    const bounds = { windowStart: new Date(start), windowEnd: new Date(start + SIZE) };
    const extremes = { least: Math.min(...values), greatest: Math.max(...values), last };
    return { sensor, floor, ...bounds, n: of.length, total, average: total / of.length, ...extremes };
  });
  return { rows, late };
}

const sorted = (rows: readonly unknown[]): string[] => rows.map((row) => JSON.stringify(row)).sort();

const reading = (sensor: string, floor: number, minute: number): Reading => ({
  sensor,
  floor,
  at: new Date(Date.UTC(2001, 0, 1, 0, minute)),
  value: 1,
});

describe("windows with disorder", () => {
  for (let run = 0; run < 25; run++) {
    const seed = Math.floor(Math.random() * 2 ** 31);
    test(`are those of the naive model, and so is what is late (seed ${seed})`, async () => {
      const random = new Random(seed);
      const partitions = Array.from({ length: 1 + random.below(4) }, () => partitionOf(random, random.below(400)));
      const world = new World();
      await world.log.createTopic("readings", { partitions: partitions.length });
      for (const [partition, all] of partitions.entries()) {
        for (let at = 0; at < all.length; ) {
          const batch = all.slice(at, at + 1 + random.below(50));
          await world.send(readings, batch, partition);
          at += batch.length;
        }
      }
      const task = runTask(windowed(world), world.host({ options: { checkpointIntervalMs: 1, pullBytesMax: 1 + random.below(5000) } }));
      await task.drain();
      const expected = model(partitions);
      expect(sorted(world.rows("late"))).toEqual(sorted(expected.late));
      expect(sorted(world.rows("rows"))).toEqual(sorted(expected.rows));
      expect(task.status()).toMatchObject({ late: expected.late.length, recordsIn: partitions.flat().length, watermark: Infinity });
    });
  }

  test("fire ordered by window and key", async () => {
    const world = new World();
    await world.send(readings, [reading("b", 1, 15), reading("b", 0, 4), reading("a", 1, 4), reading("a", 0, 15), reading("a", 0, 4)]);
    await runTask(windowed(world), world.host()).drain();
    const shown = (world.rows("rows") as { windowStart: Date; sensor: string; floor: number }[]).map(
      ({ windowStart, sensor, floor }) => `${windowStart.getUTCMinutes()} ${sensor} ${floor}`,
    );
    expect(shown).toEqual(["3 a 0", "3 a 1", "3 b 0", "13 a 0", "13 b 1"]);
  });
});

test("a record before 1970 has its window too", async () => {
  const world = new World();
  await world.send(readings, [{ sensor: "a", floor: 0, at: new Date(-1), value: 1 }]);
  await runTask(windowed(world), world.host()).drain();
  expect(world.rows("rows")).toMatchObject([{ windowStart: new Date(-7 * MINUTE), windowEnd: new Date(3 * MINUTE) }]);
});
