/** The public API: what pipelines are written with, and a node in your program. Connectors and the test kit have entries of their own. */
export { MillraceError } from "./base/errors.ts";
export type { Logger } from "./base/logger.ts";
export { createNode, type NodeOptions } from "./server/createNode.ts";
export type { Node } from "./server/node.ts";
export type { NodeStatus } from "./server/status.ts";
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
