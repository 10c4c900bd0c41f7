import { aggregate, count, keyBy, type Output, pipeline, sum, topic, tumbling } from "millrace";
import { testPipeline } from "millrace/testing";
import { distinct, filter, map, merge, type Observable, scan, share, startWith, take, tap } from "rxjs";
import { describe, expect, test } from "vitest";
import { z } from "zod";

const Order = z.object({ shop: z.string(), at: z.date(), amount: z.number() });
type Order = z.infer<typeof Order>;
const orders = topic("orders", Order);
const Row = z.object({ shop: z.string(), amount: z.number() });
const rows = topic("rows", Row);
const Sales = z.object({ shop: z.string(), windowStart: z.date(), windowEnd: z.date(), orders: z.int(), amount: z.number() });
const sales = topic("sales", Sales);

const order = (shop: string, minute: number, amount: number): Order => ({ shop, at: new Date(Date.UTC(2001, 0, 1, 0, minute)), amount });
const some = [
  order("a", 0, 1),
  order("b", 1, 2),
  order("a", 2, 3),
  order("a", 12, 4),
  order("b", 13, 5),
  order("b", 3, 6),
  order("a", 25, 7),
];

const withOrders = (build: (orders: Observable<Order>) => Observable<{ shop: string; amount: number }>) =>
  pipeline("orders", ({ source, sink }) => sink(build(source(orders, { eventTime: (order) => order.at, outOfOrderness: "5 min" })), rows));

describe("a crash at every record", () => {
  test("changes nothing behind operators without state and behind those of the engine", async () => {
    const sound = pipeline("orders", ({ source, output, sink }) => {
      const late = output("late", Order);
      const all = source(orders, { eventTime: (order) => order.at, outOfOrderness: "5 min" });
      const doubled = all.pipe(
        map((order) => ({ ...order, amount: order.amount * 2 })),
        filter((order) => order.amount > 2),
        share(),
      );
      sink(merge(doubled, all).pipe(map(({ shop, amount }) => ({ shop, amount }))), rows);
      const ten = doubled.pipe(keyBy("shop"), tumbling("10 min", { late }), aggregate({ orders: count(), amount: sum((o) => o.amount) }));
      sink(ten, sales);
      sink(late, topic("late", Order));
    });
    await using t = await testPipeline(sound, { partitions: 3, seed: 5 });
    await t.send(orders, some);
    await t.advanceWatermark("2001-01-01T00:20:00Z");
    expect(t.rows("sales")).toHaveLength(4);
    expect(t.rows("rows")).toHaveLength(some.length * 2 - 1);
    await t.sendText(orders, ["{", '{"shop": 1}']);
    await t.send(orders, [order("late", 19, 8)]);
    expect(t.late("late")).toMatchObject([{ shop: "late", amount: 16 }]);
    expect(t.rows("late")).toEqual(t.late("late"));
    expect(t.dead()).toMatchObject([{ reason: "INVALID_JSON" }, { reason: "SCHEMA_BREAK" }]);
    await t.crashAtEveryRecord();
  });

  test.each([
    ["scan", scan((all: Order, order: Order) => ({ ...order, amount: all.amount + order.amount }))],
    ["distinct", distinct((order: Order) => order.shop)],
    ["take", take<Order>(3)],
  ])("finds out the stock operator %s, which forgets", async (_, operator) => {
    await using t = await testPipeline(withOrders((all) => all.pipe(operator)));
    await t.send(orders, some);
    await expect(t.crashAtEveryRecord()).rejects.toThrow(/first at record .*'rows' got .* instead of/);
    await expect(t.crashAtEveryRecord()).rejects.toMatchObject({ code: "CRASH_CHANGES_RESULT" });
  });

  test("finds out a variable outside of the pipeline", async () => {
    let seen = 0;
    await using t = await testPipeline(withOrders((all) => all.pipe(map((order) => ({ ...order, amount: seen++ })))));
    await t.send(orders, some);
    await expect(t.crashAtEveryRecord()).rejects.toMatchObject({ code: "CRASH_CHANGES_RESULT" });
  });
});

describe("a stream", () => {
  test("that is used twice runs once", async () => {
    let calls = 0;
    const twice = withOrders((all) => {
      const counted = all.pipe(
        tap(() => calls++),
        keyBy("shop"),
      );
      return merge(counted, counted).pipe(map(({ shop, amount }) => ({ shop, amount })));
    });
    await using t = await testPipeline(twice);
    await t.send(orders, some);
    expect(calls).toBe(some.length);
    expect(t.rows("rows")).toHaveLength(some.length * 2);
  });

  test("keeps its key from a sibling that sets another", async () => {
    const siblings = pipeline("orders", ({ source, sink }) => {
      const byShop = source(orders, { eventTime: (order) => order.at, outOfOrderness: "5 min" }).pipe(keyBy("shop"));
      sink(
        byShop.pipe(
          keyBy({ amount: (o) => o.amount }),
          map(({ shop, amount }) => ({ shop, amount })),
        ),
        rows,
      );
      sink(byShop.pipe(tumbling("1 h"), aggregate({ orders: count(), amount: sum((o) => o.amount) })), sales);
    });
    await using t = await testPipeline(siblings);
    await t.send(orders, some);
    await t.advanceWatermark("2001-01-01T01:00:00Z");
    expect(t.rows("sales")).toMatchObject([
      { shop: "a", orders: 4, amount: 15 },
      { shop: "b", orders: 3, amount: 13 },
    ]);
  });

  test("may not be subscribed to, directly or through a pipe", async () => {
    for (const subscribe of [
      (all: Observable<Order>) => all.subscribe(),
      (all: Observable<Order>) => all.pipe(map((order) => order.amount)).subscribe(),
    ]) {
      const wrong = withOrders((all) => {
        subscribe(all);
        return all;
      });
      await expect(testPipeline(wrong)).rejects.toMatchObject({ code: "SUBSCRIBE_REFUSED", hint: expect.stringContaining("tap()") });
    }
  });

  test("may not be subscribed to later either", async () => {
    const wrong = withOrders((all) => all.pipe(tap(() => all.subscribe())));
    await using t = await testPipeline(wrong);
    await expect(t.send(orders, some)).rejects.toMatchObject({ code: "SUBSCRIBE_REFUSED" });
  });

  test("may not begin with values of its own, which each restart would repeat", async () => {
    const wrong = withOrders((all) => all.pipe(startWith(order("x", 0, 0))));
    await expect(testPipeline(wrong)).rejects.toMatchObject({ code: "EMITTED_WHILE_BUILDING" });
  });
});

const perHourOf = (from: Observable<{ shop: string; orders: number; amount: number }>) =>
  from.pipe(keyBy("shop"), tumbling("1 h"), aggregate({ orders: sum((row) => row.orders), amount: sum((row) => row.amount) }));
const lateRows = (stream: Output<Order>) =>
  stream.pipe(keyBy("shop"), tumbling("1 h"), aggregate({ orders: count(), amount: sum((o) => o.amount) }));

const perHour = (share_: boolean, lateFirst: boolean) =>
  pipeline("chain", ({ source, output, sink }) => {
    const late = output("late", Order);
    const all = source(orders, { eventTime: (order) => order.at, outOfOrderness: 0 });
    const perShop = all.pipe(keyBy("shop"), tumbling("10 min", { late }), aggregate({ orders: count(), amount: sum((o) => o.amount) }));
    const shared = share_
      ? perShop.pipe(
          map((row) => row),
          share(),
        )
      : perShop;
    if (lateFirst) sink(lateRows(late), topic("late-sales", Sales));
    sink(shared.pipe(filter((row) => row.shop !== "")), topic("fine", Sales));
    sink(perHourOf(shared), sales);
    if (!lateFirst) sink(lateRows(late), topic("late-sales", Sales));
  });

describe("windows behind windows", () => {
  test.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])(
    "fire from above to below in one leap of the watermark (behind share: %s, late output used first: %s)",
    async (behindShare, lateFirst) => {
      await using t = await testPipeline(perHour(behindShare, lateFirst));
      await t.send(orders, [order("a", 0, 1), order("a", 11, 2), order("a", 22, 3), order("a", 5, 50)]);
      await t.advanceWatermark("2001-01-01T05:00:00Z");
      expect(t.rows("fine")).toHaveLength(3);
      expect(t.rows("sales")).toMatchObject([{ shop: "a", orders: 3, amount: 6 }]);
      expect(t.rows("late-sales")).toMatchObject([{ shop: "a", orders: 1, amount: 50 }]);
      await t.crashAtEveryRecord();
    },
  );
});

test("a name that the pipeline doesn't have is said, with those that it has", async () => {
  await using t = await testPipeline(withOrders((all) => all));
  expect(() => t.rows("lines")).toThrow(/no sink 'lines'/);
  expect(() => t.late("late")).toThrow(/no output 'late'/);
});

test("a pipeline that reads nothing or writes nothing is refused", async () => {
  const unfed = pipeline("unfed", ({ output, sink }) => sink(output("late", Order), topic("late", Order)));
  await expect(testPipeline(unfed)).rejects.toMatchObject({ code: "PIPELINE_EMPTY" });
  const unread = pipeline("unread", ({ source }) => void source(orders));
  await expect(testPipeline(unread)).rejects.toMatchObject({ code: "PIPELINE_EMPTY" });
});
