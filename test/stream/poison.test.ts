import { aggregate, count, keyBy, max, pipeline, topic, tumbling } from "millrace";
import { testPipeline } from "millrace/testing";
import { map, tap } from "rxjs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import { MillraceError } from "../../src/base/errors.ts";
import { type Logger, silentLogger } from "../../src/base/logger.ts";
import type { Sink } from "../../src/stream/contract/sink.ts";
import { runTask } from "../../src/stream/runTask.ts";
import { untilTrue } from "../support/until.ts";
import { World } from "./support.ts";

const Order = z.object({ shop: z.string(), at: z.date(), amount: z.number() });
type Order = z.infer<typeof Order>;
const orders = topic("orders", Order);
const order = (shop: string, minute: number, amount: number): Order => ({ shop, at: new Date(Date.UTC(2001, 0, 1, 0, minute)), amount });
const some = [order("a", 0, 1), order("b", 1, 2), order("a", 2, -3), order("b", 3, 4), order("a", 14, -5), order("b", 15, 6)];

const careful = (check: (order: Order) => void, checkRow: (row: { shop: string; n: number }) => void = () => undefined) =>
  pipeline("orders", ({ source, sink }) => {
    const all = source(orders, { eventTime: (order) => order.at, outOfOrderness: "1 min" });
    sink(all.pipe(map(({ shop, amount }) => ({ shop, amount }))), topic("all", z.object({ shop: z.string(), amount: z.number() })));
    const rows = all.pipe(tap(check), keyBy("shop"), tumbling("10 min"), aggregate({ n: count(), most: max((order) => order.amount) }));
    sink(rows.pipe(tap(checkRow)), topic("rows", z.object({ shop: z.string(), n: z.int() })));
  });

const refuseNegative = ({ amount }: Order): void => {
  if (amount < 0) throw new RangeError(`${amount} is negative`);
};

const strictKey = (order: Order): string => {
  refuseNegative(order);
  return order.shop;
};

describe("a record that a callback throws at", () => {
  test("goes to the dead topic with its place and the stack; the others go on, and none of its effects stay", async () => {
    await using t = await testPipeline(careful(refuseNegative));
    await t.send(orders, some);
    await t.advanceWatermark("2001-01-01T00:20:00Z");
    expect(t.dead()).toMatchObject([
      { reason: "CALLBACK_FAILED", topic: "orders", partition: 0, offset: 2, value: orders.codec.encode(some[2] as Order) },
      { reason: "CALLBACK_FAILED", topic: "orders", partition: 0, offset: 4 },
    ]);
    expect(t.dead()[0]?.message).toMatch(/RangeError: -3 is negative\n.*poison\.test/);
    expect(t.rows("all")).toHaveLength(4); // though that sink had taken it before the other branch threw
    expect(t.rows("rows")).toMatchObject([
      { shop: "a", n: 1 },
      { shop: "b", n: 2 },
      { shop: "b", n: 1 },
    ]);
    await t.crashAtEveryRecord();
  });

  test("in an operator of the engine is treated alike", async () => {
    const keyed = pipeline("orders", ({ source, sink }) => {
      const all = source(orders, { eventTime: (order) => order.at, outOfOrderness: 0 });
      sink(
        all.pipe(keyBy({ key: strictKey }), tumbling("10 min"), aggregate({ n: count() })),
        topic("rows", z.object({ key: z.string(), n: z.int() })),
      );
    });
    await using t = await testPipeline(keyed);
    await t.send(orders, some);
    expect(t.dead()).toMatchObject([{ offset: 2, operator: "keyBy" }, { offset: 4 }]);
    await t.crashAtEveryRecord();
  });

  test("may be all of them", async () => {
    await using t = await testPipeline(careful(() => refuseNegative(order("x", 0, -1))));
    await t.send(orders, some);
    expect(t.dead()).toHaveLength(some.length);
    expect(t.rows("all")).toEqual([]);
  });
});

test("a window's row that a callback throws at goes to the dead topic; the window's other rows stay", async () => {
  const rows = careful(
    () => undefined,
    ({ shop }) => {
      if (shop === "a") throw new Error("no a");
    },
  );
  await using t = await testPipeline(rows);
  await t.send(orders, some);
  await t.advanceWatermark("2001-01-01T00:20:00Z");
  expect(t.rows("rows")).toMatchObject([
    { shop: "b", n: 2 },
    { shop: "b", n: 1 },
  ]);
  expect(t.dead()).toHaveLength(2);
  expect(JSON.parse(t.dead()[0]?.value ?? "")).toMatchObject({ shop: "a", n: 2, most: 1 });
  expect(t.rows("all")).toHaveLength(some.length);
  await t.crashAtEveryRecord();
});

test.each([
  ["no JSON", "INVALID_JSON", '{"shop": '],
  ["another schema", "SCHEMA_BREAK", '{"shop":"a","at":"2001-01-01T00:00:00Z","amount":"many"}'],
  ["a date that is none", "SCHEMA_BREAK", '{"shop":"a","at":"yesterday","amount":1}'],
])("%s goes to the dead topic as it came: %s", async (_, reason, text) => {
  await using t = await testPipeline(careful(() => undefined));
  await t.sendText(orders, [text]);
  await t.send(orders, some);
  expect(t.dead()).toMatchObject([{ reason, operator: "source orders", offset: 0, value: text }]);
  expect(t.rows("all")).toHaveLength(some.length);
});

test("an event time that is no time, or a throw in its place, makes a dead record", async () => {
  const times = pipeline("orders", ({ source, sink }) => {
    const eventTime = ({ amount }: Order): Date => {
      refuseNegative({ ...order("", 0, 0), amount });
      return new Date(amount === 6 ? Number.NaN : 0);
    };
    sink(source(orders, { eventTime, outOfOrderness: 0 }), topic("all", Order));
  });
  await using t = await testPipeline(times);
  await t.send(orders, some);
  expect(t.dead().map(({ reason }) => reason)).toEqual(["CALLBACK_FAILED", "CALLBACK_FAILED", "EVENT_TIME_INVALID"]);
});

test("a row that its sink refuses goes to the dead topic, alone", async () => {
  const world = new World();
  const inner = world.sink<Order>("rows");
  const picky: Sink<Order> = {
    ...inner,
    async open(context) {
      const writer = await inner.open(context);
      const write: typeof writer.write = (row, columns, place) => {
        if ((row as Order).amount < 0) throw new MillraceError("ROW_REFUSED", "negative", { domain: "user" });
        writer.write(row, columns, place);
      };
      return Object.assign(Object.create(writer) as typeof writer, { write });
    },
  };
  const copy = pipeline("copy", ({ source, sink }) => sink(source(orders), picky));
  await world.send(orders, some);
  const task = runTask(copy, world.host());
  await task.drain();
  expect(world.rows("rows")).toHaveLength(4);
  expect(task.status()).toMatchObject({ dead: 2, rowsOut: { rows: 4 } });
});

test("a sink that fails otherwise fails the task, with the sink's name", async () => {
  const world = new World();
  const broken: Sink<Order> = { ...world.sink<Order>("disk"), open: () => Promise.reject(new Error("no such disk")) };
  const copy = pipeline("copy", ({ source, sink }) => sink(source(orders), broken));
  await world.send(orders, some);
  await expect(runTask(copy, world.host()).done).rejects.toMatchObject({ code: "SINK_FAILED", where: "sink disk" });
});

test("a sink that fails again and again in the same way is said once, and that it is over", async () => {
  const world = new World();
  const inner = world.sink<Order>("disk");
  let failures = 0;
  const full: Sink<Order> = {
    ...inner,
    open: async (context) => {
      if (failures++ < 4) throw new MillraceError("OUTPUT_FULL", "the disk is full", { domain: "external", retryable: true });
      return inner.open(context);
    },
  };
  const said: string[] = [];
  const logger: Logger = { ...silentLogger, warn: (text) => void said.push(text), info: (text) => void said.push(text) };
  const clock: Clock = { ...systemClock, after: (_, then) => systemClock.after(1, then) };
  await world.send(orders, some);
  const task = runTask(
    pipeline("copy", ({ source, sink }) => sink(source(orders), full)),
    world.host({ logger, clock }),
  );
  await untilTrue(() => world.rows("disk").length === some.length);
  await task.stop();
  expect(said).toEqual(["The pipeline starts again", "The pipeline goes on"]);
});

test("rows of a function have the types of their first values; a later one of another type is dead", async () => {
  const changing = pipeline("orders", ({ source, sink }) =>
    sink(
      source(orders).pipe(map(({ shop, amount }) => ({ shop, amount: (amount < 0 ? String(amount) : amount) as number }))),
      topic("all", z.object({ shop: z.string(), amount: z.number() })),
    ),
  );
  await using t = await testPipeline(changing);
  await t.send(orders, some);
  expect(t.rows("all")).toHaveLength(4);
  expect(t.dead()).toMatchObject([{ reason: "COLUMN_MISMATCH", message: "column 'amount' is a double and the row has a string" }, {}]);
  await t.crashAtEveryRecord();
});
