import { aggregate, count, keyBy, max, mean, type Pipeline, pipeline, topic, tumbling } from "millrace";
import type { Observable } from "rxjs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { Clock } from "../../src/base/clock.ts";
import { systemClock } from "../../src/base/clock.ts";
import { type Logger, silentLogger } from "../../src/base/logger.ts";
import { fileCheckpointStore } from "../../src/stream/checkpoint/fileCheckpointStore.ts";
import { runTask } from "../../src/stream/runTask.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { untilTrue } from "../support/until.ts";
import { World } from "./support.ts";

const Order = z.object({ shop: z.string(), at: z.date(), amount: z.number() });
type Order = z.infer<typeof Order>;
const orders = topic("orders", Order);
const order = (shop: string, minute: number, amount = 1): Order => ({ shop, at: new Date(Date.UTC(2001, 0, 1, 0, minute)), amount });

const perShop = (world: World): Pipeline =>
  pipeline("orders", ({ source, sink }) => {
    const all = source(orders, { eventTime: (order) => order.at, outOfOrderness: 0 });
    sink(
      all.pipe(keyBy("shop"), tumbling("10 min"), aggregate({ n: count(), average: mean((order) => order.amount) })),
      world.sink("rows"),
    );
  });

describe("a task", () => {
  test("that is stopped goes on where it was: open windows too", async () => {
    const world = new World();
    await world.send(orders, [order("a", 1), order("a", 2)]);
    const first = runTask(perShop(world), world.host());
    await untilTrue(() => first.status().recordsIn === 2);
    await first.stop();
    expect(await first.done).toBe("stopped");
    expect(world.rows("rows")).toEqual([]);
    await world.send(orders, [order("a", 3), order("a", 11)]);
    const second = runTask(perShop(world), world.host());
    await untilTrue(() => world.rows("rows").length === 1);
    expect(world.rows("rows")).toMatchObject([{ shop: "a", n: 3, average: 1 }]);
    await second.stop();
    expect(second.status()).toMatchObject({ recordsIn: 4, offsets: { "orders-0": 4 }, rowsOut: { rows: 1 } });
  });

  test("that is drained takes in what is there, fires everything, and is finished for good", async () => {
    const world = new World();
    await world.send(orders, [order("a", 1), order("b", 30)]);
    const task = runTask(perShop(world), world.host());
    await task.drain();
    expect(await task.done).toBe("drained");
    expect(world.rows("rows")).toMatchObject([{ shop: "a" }, { shop: "b" }]);
    await world.send(orders, [order("c", 40)]);
    const lines: string[] = [];
    const logger: Logger = { ...silentLogger, info: (line) => lines.push(line) };
    expect(await runTask(perShop(world), world.host({ logger })).done).toBe("drained");
    expect(lines.join()).toMatch(/rename it, or stop the node and remove its file/);
    expect(world.rows("rows")).toHaveLength(2);
  });

  test("waits for its topic, and can be stopped and drained meanwhile", async () => {
    const world = new World();
    const waiting = runTask(perShop(world), world.host());
    await world.send(orders, [order("a", 1), order("a", 11)]);
    await untilTrue(() => world.rows("rows").length === 1);
    await waiting.stop();
    const nothing = new World();
    await runTask(perShop(nothing), nothing.host()).drain();
    await runTask(perShop(nothing), nothing.host()).stop();
  });

  test("gives the thread to others between pulls", async () => {
    const world = new World();
    for (let i = 0; i < 50; i++) await world.send(orders, [order("a", i)]);
    let turns = 0;
    let over = false;
    const turn = (): void => {
      turns++;
      if (!over) setImmediate(turn);
    };
    setImmediate(turn);
    const task = runTask(perShop(world), world.host({ options: { checkpointIntervalMs: 1e6, pullBytesMax: 1 } }));
    await task.drain();
    over = true;
    expect(turns).toBeGreaterThanOrEqual(49); // between 50 pulls of one record each
  });
});

const twoPartitions = async (
  idleAfter: "1 min" | undefined,
): Promise<{ world: World; task: ReturnType<typeof runTask>; pass(ms: number): void }> => {
  const world = new World();
  await world.log.createTopic("orders", { partitions: 2 });
  let nowMs = 0;
  const clock: Clock = { ...systemClock, monotonicMs: () => nowMs, after: (_, then) => systemClock.after(1, then) };
  const built = pipeline("orders", ({ source, sink }) => {
    const all = source(orders, { eventTime: (order) => order.at, outOfOrderness: 0, ...(idleAfter === undefined ? {} : { idleAfter }) });
    sink(all.pipe(keyBy("shop"), tumbling("10 min"), aggregate({ n: count() })), world.sink("rows"));
  });
  await world.send(orders, [order("a", 1), order("a", 11)], 0);
  const task = runTask(built, world.host({ clock }));
  await untilTrue(() => task.status().recordsIn === 2);
  return {
    world,
    task,
    pass: (ms) => {
      nowMs += ms;
    },
  };
};

describe("a silent partition", () => {
  test("holds the windows back, and no longer after idleAfter", async () => {
    const { world, task, pass } = await twoPartitions("1 min");
    pass(59_000);
    await world.send(orders, [order("a", 12)], 0); // a turn of the loop at that time
    await untilTrue(() => task.status().recordsIn === 3);
    expect(task.status().watermark).toBeUndefined();
    pass(2_000);
    await untilTrue(() => task.status().watermark !== undefined);
    pass(10);
    await untilTrue(() => world.rows("rows").length === 1);
    await world.send(orders, [order("a", 2)], 1); // it speaks again: too late for that window
    await untilTrue(() => task.status().late === 1);
    await task.stop();
  });

  test("among silent partitions holds nothing back: what is complete is shown", async () => {
    const { world, task, pass } = await twoPartitions("1 min");
    pass(61_000);
    await untilTrue(() => task.status().watermark !== undefined);
    pass(10);
    await untilTrue(() => world.rows("rows").length === 1);
    await task.stop();
  });

  test("without idleAfter holds them back until the end", async () => {
    const { world, task, pass } = await twoPartitions(undefined);
    pass(1e9);
    await world.send(orders, [order("a", 30)], 0);
    await untilTrue(() => task.status().recordsIn === 3);
    expect(task.status().watermark).toBeUndefined();
    await task.drain();
    expect(world.rows("rows")).toHaveLength(3);
  });
});

const variant = (world: World, minutes: number, byShop: boolean, results: "count" | "more" | "mean of n"): Pipeline =>
  pipeline("orders", ({ source, sink }) => {
    const all = source(orders, { eventTime: (order) => order.at, outOfOrderness: 0 });
    const keyed = byShop ? all.pipe(keyBy("shop")) : all.pipe(keyBy({ half: () => "x" }));
    const windowed = (keyed as ReturnType<typeof byShopOnly>).pipe(tumbling(minutes * 60_000));
    if (results === "count") sink(windowed.pipe(aggregate({ n: count() })), world.sink("rows"));
    if (results === "more") sink(windowed.pipe(aggregate({ most: max((o) => o.amount), n: count() })), world.sink("rows"));
    if (results === "mean of n") sink(windowed.pipe(aggregate({ n: mean((o) => o.amount) })), world.sink("rows"));
  });
const byShopOnly = (all: Observable<Order>) => all.pipe(keyBy("shop"));

async function stopped(): Promise<World> {
  const world = new World();
  await world.send(orders, [order("a", 1, 5)]);
  const task = runTask(variant(world, 10, true, "count"), world.host());
  await untilTrue(() => task.status().recordsIn === 1);
  await task.stop();
  return world;
}

describe("a checkpoint of another pipeline under the same name is refused, with the difference", () => {
  test.each([
    ["another window", (world: World) => variant(world, 20, true, "count"), /'aggregate-1' .*size was 600000 and is 1200000/],
    ["another key", (world: World) => variant(world, 10, false, "count"), /key was \["shop"\] and is \["half"\]/],
    ["another result", (world: World) => variant(world, 10, true, "mean of n"), /result 'n' was "count int64" and is "mean double"/],
    [
      "an operator that is gone",
      (world: World) => pipeline("orders", ({ source, sink }) => sink(source(orders), world.sink("rows"))),
      /state of 'aggregate-1'/,
    ],
  ])("%s", async (_, build, message) => {
    const world = await stopped();
    const refused = runTask(build(world), world.host()).done;
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPATIBLE", hint: expect.stringContaining("rename the pipeline") });
  });

  test("a new result starts empty, and the log says so", async () => {
    const world = await stopped();
    const lines: unknown[] = [];
    const logger: Logger = { ...silentLogger, info: (line, fields) => lines.push({ line, ...fields }) };
    await world.send(orders, [order("a", 2, 3)]);
    await runTask(variant(world, 10, true, "more"), world.host({ logger })).drain();
    expect(world.rows("rows")).toMatchObject([{ n: 2, most: 3 }]);
    expect(lines).toMatchObject([{ line: "New results start empty", id: "aggregate-1", results: ["most"] }]);
  });
});

describe("a checkpoint that doesn't fit the log", () => {
  test("ahead of it is refused", async () => {
    const world = new World();
    await world.send(orders, [order("a", 1)]);
    const task = runTask(perShop(world), world.host());
    await untilTrue(() => task.status().recordsIn === 1);
    await task.stop();
    const another = new World();
    another.saved.set("orders", world.saved.get("orders") as Uint8Array);
    await another.log.createTopic("orders");
    await expect(runTask(perShop(another), another.host()).done).rejects.toMatchObject({ code: "CHECKPOINT_AHEAD_OF_LOG" });
  });

  test("behind its start is refused, with the choice to make", async () => {
    const world = new World();
    await world.send(orders, [order("a", 1)]);
    const task = runTask(perShop(world), world.host());
    await untilTrue(() => task.status().recordsIn === 1);
    await task.stop();
    const { log } = world;
    const openReader = log.openReader.bind(log);
    log.openReader = async (descriptor) => Object.assign(await openReader(descriptor), { startOffset: () => 7 });
    const refused = runTask(perShop(world), world.host()).done;
    await expect(refused).rejects.toMatchObject({ code: "SOURCE_POSITION_LOST", hint: expect.stringMatching(/^Choose: /) });
  });
});

const store = (fileSystem: SimulatedFileSystem) => fileCheckpointStore({ fileSystem, directory: "/data/checkpoints" });

describe("checkpoints in files", () => {
  test("a power loss at any moment leaves the one before or this one, whole", async () => {
    for (let seed = 0; seed < 200; seed++) {
      let fileSystem = new SimulatedFileSystem({ seed });
      await store(fileSystem).commit("p", Buffer.alloc(5000, 1));
      const after = seed % 12;
      let calls = 0;
      const dying = new Proxy(fileSystem, {
        get(target, name) {
          const of = Reflect.get(target, name) as unknown;
          if (typeof of !== "function") return of;
          return (...args: unknown[]) => {
            if (calls++ >= after) throw new Error("power loss");
            return (of as (...args: unknown[]) => unknown).apply(target, args);
          };
        },
      });
      const done = await store(dying)
        .commit("p", Buffer.alloc(9000, 2))
        .then(
          () => true,
          () => false,
        );
      fileSystem = fileSystem.crash();
      const found = Buffer.from((await store(fileSystem).load("p")) as Uint8Array);
      expect([Buffer.alloc(5000, 1), Buffer.alloc(9000, 2)].some((whole) => whole.equals(found))).toBe(true);
      if (done) expect(found[0]).toBe(2);
      await store(fileSystem).commit("p", Buffer.of(3)); // what a crash left is no hindrance
    }
  });

  test("a damaged one and one of a newer version are refused", async () => {
    const world = new World();
    await world.send(orders, [order("a", 1)]);
    await runTask(perShop(world), world.host()).drain();
    const sound = world.saved.get("orders") as Uint8Array;
    const start = async (bytes: Uint8Array): Promise<unknown> => {
      world.saved.set("orders", bytes);
      return runTask(perShop(world), world.host()).done.catch((error: { code: string }) => error.code);
    };
    for (let i = 0; i < sound.length; i += 7) {
      const damaged = Buffer.from(sound);
      damaged[i] = (damaged[i] as number) ^ 0x40;
      if (i !== 6 && i !== 7) expect(await start(damaged)).toMatch(/CHECKPOINT_(CORRUPT|TOO_NEW)/);
    }
    expect(await start(Buffer.from(sound).subarray(0, -1))).toBe("CHECKPOINT_CORRUPT");
    const newer = Buffer.from(sound);
    newer.writeUInt16BE(2, 4);
    expect(await start(newer)).toBe("CHECKPOINT_TOO_NEW");
    expect(await start(sound)).toBe("drained");
  });
});
