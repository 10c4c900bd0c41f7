import { aggregate, count, keyBy, max, mean, pipeline, topic, tumbling } from "millrace";
import { day, parquet } from "millrace/connectors/parquet";
import { Flight, flights } from "./flight.ts";

/** Whoever publishes flights keeps within it; what comes later is late. */
export const outOfOrderness = "2 h";

/** How late do flights leave, by airport and hour? And every flight once in the lake, by day. */
export default pipeline("hourly-delays", ({ source, output, sink }) => {
  const late = output("late", Flight);
  const all = source(flights, { eventTime: (flight) => flight.date, outOfOrderness });

  sink(all, parquet({ to: "flights", partitionBy: { day: (flight) => day(flight.date) } }));

  const hourly = all.pipe(
    keyBy("origin"),
    tumbling("1 h", { late }),
    aggregate({ flights: count(), meanDelay: mean((flight) => flight.delay), worst: max((flight) => flight.delay) }),
  );
  sink(hourly, parquet({ to: "hourly-delays" }));

  sink(late, topic("flights.late", Flight));
  sink(late, parquet({ to: "flights-late" }));
});
