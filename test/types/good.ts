/** What must compile, with the types that must come out. */
import { aggregate, as, count, keyBy, max, mean, min, pipeline, sum, topic, tumbling } from "millrace";
import { day, parquet } from "millrace/connectors/parquet";
import { testPipeline } from "millrace/testing";
import { filter, map, merge, type Observable, share, tap } from "rxjs";
import { z } from "zod";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Equal<A, B>): void => undefined;

const Flight = z.object({
  id: z.int(),
  origin: z.string(),
  date: z.date(),
  delay: z.number(),
  seats: z.bigint(),
  note: z.string().nullable(),
});
interface Flight extends z.infer<typeof Flight> {}
const flights = topic<Flight>("flights", Flight);
const Hour = z.object({ origin: z.string(), worst: z.number() });

export default pipeline("good", ({ source, output, sink }) => {
  const late = output("late", Flight);
  const all = source(flights, { eventTime: (flight) => flight.date, outOfOrderness: "10 min", idleAfter: "1 min" });
  same<typeof all, Observable<Flight>>(true);
  const hourly = all.pipe(
    filter((flight) => flight.delay > 0),
    tap((flight) => flight.id),
    keyBy("origin"),
    tumbling("1 h", { late, offset: "30 min" }),
    aggregate({
      flights: count(),
      meanDelay: mean((f) => f.delay),
      worst: max((f) => f.delay),
      first: min((f) => f.date),
      seats: sum((f) => f.seats),
      delays: sum((f) => f.delay),
    }),
  );
  type Row = {
    origin: string;
    windowStart: Date;
    windowEnd: Date;
    flights: number;
    meanDelay: number;
    worst: number;
    first: Date;
    seats: bigint;
    delays: number;
  };
  same<typeof hourly, Observable<Row>>(true);
  sink(hourly, parquet({ to: "hourly", partitionBy: { day: (row) => day(row.windowStart) } }));
  sink(late, topic("flights.late", Flight));
  sink(all, parquet({ to: "raw", columns: { delay: "int32" } }), { id: "raw" });
  const far = all.pipe(
    keyBy({ far: (f) => f.delay > 1000, origin: (f) => f.origin }),
    tumbling(3_600_000),
    aggregate({ n: count() }, { id: "far" }),
  );
  same<typeof far, Observable<{ far: boolean; origin: string; windowStart: Date; windowEnd: Date; n: number }>>(true);
  const worst = hourly.pipe(
    map(({ origin, worst }) => ({ origin, worst })),
    as(Hour),
    share(),
  );
  sink(merge(worst, worst), parquet({ to: "worst" }));
  sink(source(topic("plain", Hour)), topic("copy", Hour));
});

export async function tested(it: ReturnType<typeof pipeline>): Promise<void> {
  await using t = await testPipeline(it, { partitions: 3, seed: 1 });
  await t.send(flights, [{ id: 1, origin: "SFO", date: new Date(), delay: 1, seats: 1n, note: null }]);
  await t.advanceWatermark("2001-01-01T02:00Z");
  await t.advanceWatermark(new Date());
  await t.crashAtEveryRecord();
}
