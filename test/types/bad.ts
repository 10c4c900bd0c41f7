/** What must not compile. Above each mistake: what the compiler's message must say. */
import { aggregate, as, count, keyBy, max, mean, pipeline, topic, tumbling } from "millrace";
import { parquet } from "millrace/connectors/parquet";
import { testPipeline } from "millrace/testing";
import { filter, map } from "rxjs";
import { z } from "zod";

const Flight = z.object({ origin: z.string(), date: z.date(), delay: z.number(), distance: z.number() });
interface Flight extends z.infer<typeof Flight> {}
const flights = topic<Flight>("flights", Flight);
const Trip = z.object({ origin: z.string(), hours: z.number() });
const pass = filter((flight: Flight) => flight.delay > 0);

export const wrong = pipeline("wrong", ({ source, sink, output }) => {
  const all = source(flights, { eventTime: (flight) => flight.date, outOfOrderness: "10 min" });
  const keyed = all.pipe(keyBy("origin"));
  const lateTrip = output("late", Trip);

  // says: put_tumbling_before_this
  keyed.pipe(aggregate({ n: count(), m: mean((f) => f.delay) }));
  // says: put_keyBy_before_this
  all.pipe(tumbling("1 h"));
  // says: "date" | "delay" | "distance" | "origin"
  all.pipe(keyBy("orign"));
  // says: 'origin' is already a column of the row: name the aggregate otherwise
  keyed.pipe(tumbling("1 h"), aggregate({ origin: count(), m: mean((f) => f.delay) }));
  // says: 'windowEnd' is already a column of the row
  keyed.pipe(tumbling("1 h"), aggregate({ windowEnd: count() }));
  // says: Property 'hours' is missing
  keyed.pipe(tumbling("1 h", { late: lateTrip }), aggregate({ n: count() }));
  // says: '"1 hour"' is not assignable to parameter of type 'Duration'
  keyed.pipe(tumbling("1 hour"));
  // says: Type 'Date' is not assignable to type 'PartitionValue'
  sink(all, parquet({ to: "x", partitionBy: { day: (row) => row.date } }));
  // says: column 'v' has more than one type: make it one, or two columns
  sink(all.pipe(map((f) => ({ v: f.delay > 0 ? f.origin : f.delay }))), parquet({ to: "x" }));
  // says: column 'v' has no column type: map it to a string
  sink(all.pipe(map((f) => ({ v: [f.delay] }))), parquet({ to: "x" }));
  // says: column 'v' is 'any': put as(Schema) before the sink
  sink(all.pipe(map((f) => ({ v: JSON.parse(f.origin) }))), parquet({ to: "x" }));
  // says: the row is 'any': put as(Schema) before the sink
  sink(all.pipe(map((f) => JSON.parse(f.origin))), parquet({ to: "x" }));
  // says: put_keyBy_before_this
  keyed.pipe(
    map((f) => ({ d: f.delay })),
    tumbling("1 h"),
  );
  // says: the row is 'unknown' (rxjs types at most 9 operators in a pipe): split the pipe
  sink(all.pipe(pass, pass, pass, pass, pass, pass, pass, pass, pass, pass), parquet({ to: "x" }));
  // says: the row is a Promise: make it synchronously, the engine does not wait for it
  sink(all.pipe(map(async (f) => ({ d: f.delay }))), parquet({ to: "x" }));
  // says: the row is no object: map it to { column: value }
  sink(all.pipe(map((f) => f.delay)), parquet({ to: "x" }));
  // says: Property 'hours' is missing
  sink(all, topic("t", Trip));
  // says: Did you mean 'delay'?
  keyed.pipe(tumbling("1 h"), aggregate({ m: max((f) => f.dellay) }));
  // says: Property 'hours' is missing
  all.pipe(
    map((f) => ({ origin: f.origin })),
    as(Trip),
  );
  // says: Property 'outOfOrderness' is missing
  source(flights, { eventTime: (flight) => flight.date });
});

export async function tested(): Promise<void> {
  const t = await testPipeline(wrong);
  // says: '"2001-01-01T02:00"' is not assignable to parameter of type 'Instant'
  await t.advanceWatermark("2001-01-01T02:00");
  // says: date, delay, distance
  await t.send(flights, [{ origin: "SFO" }]);
}
