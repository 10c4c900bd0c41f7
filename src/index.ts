/** What pipelines are written with. */
export type { ColumnType, RowColumn, RowSchema } from "./stream/contract/columns.ts";
export type { BadColumn, NoBadColumn } from "./stream/contract/rows.ts";
export type { Sink, SinkContext, SinkWriter } from "./stream/contract/sink.ts";
export { aggregate } from "./stream/operators/aggregate.ts";
export { type Aggregate, count, max, mean, min, sum } from "./stream/operators/aggregates.ts";
export { as } from "./stream/operators/as.ts";
export { keyBy } from "./stream/operators/keyBy.ts";
export { tumbling, type WindowOptions } from "./stream/operators/tumbling.ts";
export type { Bounds, InWindow, Keyed, KeyOf, KeyValue, Output, Windowed } from "./stream/operators/types.ts";
export { type Builder, type EventTimeOptions, type IngestionTimeOptions, type Pipeline, pipeline } from "./stream/pipeline.ts";
export type { Schema } from "./stream/schema/schema.ts";
export type { Duration, Instant } from "./stream/time.ts";
export { type Source, type Topic, topic } from "./stream/topic.ts";
