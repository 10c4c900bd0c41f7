import { aggregate, count, keyBy, mean, pipeline, topic, tumbling } from "millrace";
import { filter, map, merge, type Observable, scan, share } from "rxjs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { Random } from "../../src/base/random.ts";
import { records } from "../../src/record/batch.ts";
import type { TaskStep } from "../../src/stream/contract/host.ts";
import type { Pipeline } from "../../src/stream/pipeline.ts";
import { runTask } from "../../src/stream/runTask.ts";
import { World } from "./support.ts";

const Event = z.object({ user: z.string(), at: z.date(), n: z.int() });
type Event = z.infer<typeof Event>;
const events = topic("events", Event);
const Row = z.object({ user: z.string(), n: z.int() });

const sound = (world: World): Pipeline =>
  pipeline("crash", ({ source, output, sink }) => {
    const late = output("late", Event);
    const all = source(events, { eventTime: (event) => event.at, outOfOrderness: "3 s" });
    const even = all.pipe(
      map((event) => ({ ...event, n: event.n + 1 })),
      filter((event) => event.n % 2 === 0),
      share(),
    );
    const rows = even.pipe(keyBy("user"), tumbling("5 s", { late }), aggregate({ count: count(), mean: mean((event) => event.n) }));
    sink(rows, world.sink("rows"));
    sink(merge(even, all).pipe(map(({ user, n }) => ({ user, n }))), topic("copies", Row));
    sink(late, topic("too-late", Event));
  });

const forgetful = (world: World): Pipeline =>
  pipeline("crash", ({ source, sink }) => {
    const all: Observable<Event> = source(events, { eventTime: (event) => event.at, outOfOrderness: "3 s" });
    sink(
      all.pipe(
        scan((sum, event) => sum + event.n, 0),
        map((sum) => ({ sum })),
      ),
      world.sink("rows"),
    );
  });

async function worldWith(seed: number): Promise<World> {
  const world = new World();
  const random = new Random(seed);
  await world.log.createTopic("events", { partitions: 3 });
  for (let batch = 0, now = Date.UTC(2001, 0, 1); batch < 60; batch++) {
    const values = Array.from({ length: 1 + random.below(20) }, () => {
      now += random.below(300);
      return { user: `u${random.below(5)}`, at: new Date(now - random.below(8000)), n: random.below(10) };
    });
    const texts = values.map((value) => (random.next() < 0.01 ? "{" : events.codec.encode(value)));
    await world.sendText("events", texts, random.below(3));
  }
  return world;
}

/** A task that is dropped at random steps of its checkpoints, then one that is let through to the end. */
async function drainWithCrashes(world: World, build: (world: World) => Pipeline, random: Random, crashes: number): Promise<void> {
  for (let crash = 0; crash < crashes; crash++) {
    const step = random.pick<TaskStep>(["prepared", "checkpointed", "committing", "committed"]);
    let left = random.below(6);
    const task = runTask(
      build(world),
      world.host({
        options: { checkpointIntervalMs: 0, pullBytesMax: 200 + random.below(2000) },
        onStep: (at) => {
          if (at === step && left-- === 0) throw new Error("crash");
        },
      }),
    );
    await task.drain().catch((error: Error) => {
      if (error.message !== "crash") throw error;
    });
  }
  await runTask(build(world), world.host()).drain();
}

async function topicTexts(world: World, name: string): Promise<string[]> {
  const { partitions } = (await world.log.describeTopic(name)) ?? { partitions: [] };
  const texts: string[] = [];
  for (const descriptor of partitions) {
    const reader = await world.log.openReader(descriptor);
    for (const { offset, value } of records(await reader.read(0, Infinity))) texts.push(`${descriptor.partition} ${offset} ${value}`);
  }
  return texts;
}

const everything = async (world: World) => ({
  rows: world.rows("rows"),
  copies: await topicTexts(world, "copies"),
  late: await topicTexts(world, "too-late"),
  dead: await topicTexts(world, "crash.dead"),
});

describe("random crashes", () => {
  for (let run = 0; run < 20; run++) {
    // the first one: two partitions that are equally far behind just where a read ends
    const seed = run === 0 ? 1_076_432_558 : Math.floor(Math.random() * 2 ** 31);
    test(`change nothing: rows, topics, late and dead records (seed ${seed})`, async () => {
      const [calm, stormy] = [await worldWith(seed), await worldWith(seed)];
      await runTask(sound(calm), calm.host()).drain();
      await drainWithCrashes(stormy, sound, new Random(seed), 1 + (run % 6));
      const expected = await everything(calm);
      expect(expected.rows.length).toBeGreaterThan(10);
      expect(await everything(stormy)).toEqual(expected);
    });
  }

  test("do change what a stock scan gives: the comparison sees it", async () => {
    const [calm, stormy] = [await worldWith(1), await worldWith(1)];
    await runTask(forgetful(calm), calm.host()).drain();
    await drainWithCrashes(stormy, forgetful, new Random(1), 6);
    expect(stormy.rows("rows")).not.toEqual(calm.rows("rows"));
  });
});
