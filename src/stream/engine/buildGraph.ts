import type { Observable } from "rxjs";
import { MillraceError, toMillraceError } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import type { Sink } from "../contract/sink.ts";
import { OutputNode, OutputStream } from "../operators/output.ts";
import type { Builder, EventTimeOptions, IngestionTimeOptions, Pipeline } from "../pipeline.ts";
import type { Schema } from "../schema/schema.ts";
import { durationMs, type Instant } from "../time.ts";
import type { Source, Topic } from "../topic.ts";
import { buildError } from "./buildError.ts";
import { Graph } from "./graph.ts";
import { SinkNode } from "./sinkNode.ts";
import { SourceNode, type SourceSettings } from "./sourceNode.ts";
import { EngineStream, whileBuilding } from "./stream.ts";

export interface BuiltGraph {
  readonly graph: Graph;
  /** Those that something reads. */
  readonly sources: readonly SourceNode[];
  readonly sinks: readonly SinkNode[];
  readonly outputs: readonly OutputNode[];
}

/** Runs the pipeline's code and connects its sinks to its sources. `captured`: for each output the kit wants a sink of its own. */
export function buildGraph(pipeline: Pipeline, logger: Logger, capture?: (output: OutputNode) => Sink<never, unknown>): BuiltGraph {
  const graph = new Graph(pipeline.name, logger);
  const sources = new Map<string, SourceNode>();
  const sinks: SinkNode[] = [];
  const outputs: OutputNode[] = [];
  const builder: Builder = {
    source: <T>(from: Source<T>, options: EventTimeOptions<T> | IngestionTimeOptions = {}) => {
      const node = new SourceNode(graph, topicOf(from), settingsOf(options));
      if (sources.has(node.topicName)) throw sourceTwice(node.topicName);
      sources.set(node.topicName, node);
      return new EngineStream<T>(node);
    },
    output: <T>(id: string, schema: Schema<unknown, T>) => {
      const node = new OutputNode(graph, id, schema);
      outputs.push(node);
      return new OutputStream<T>(node);
    },
    sink: (rows, to, options) => {
      sinks.push(new SinkNode(graph, options?.id ?? to.name, to as Sink<never, unknown>, rows as Observable<unknown>));
    },
  };
  try {
    whileBuilding(graph, () => pipeline.build(builder));
    if (capture !== undefined) {
      for (const node of outputs) sinks.push(new SinkNode(graph, `output ${node.id}`, capture(node), new OutputStream(node)));
    }
    for (const sink of sinks) graph.connect(sink);
  } catch (error) {
    throw buildFailed(error, pipeline.name);
  }
  if (graph.fatal !== undefined) throw graph.fatal;
  if (sinks.length === 0)
    throw buildError("PIPELINE_EMPTY", `The pipeline '${pipeline.name}' has no sink.`, "End a stream with sink(stream, ...).");
  const read = [...sources.values()].filter((source) => source.place >= 0);
  if (read.length === 0)
    throw buildError("PIPELINE_EMPTY", `No sink of the pipeline '${pipeline.name}' is fed by a source.`, "Begin with source(topic).");
  return { graph, sources: read, sinks, outputs };
}

function topicOf(from: Source<unknown>): Topic<unknown> {
  if ("codec" in from && "schema" in from) return from as Topic<unknown>;
  throw buildError("SOURCE_UNKNOWN", `'${from.name}' is no topic.`, "Read from topic(name, schema).");
}

function settingsOf<T>(options: EventTimeOptions<T> | IngestionTimeOptions): SourceSettings {
  const idleAfterMs = options.idleAfter === undefined ? undefined : durationMs(options.idleAfter, "idleAfter");
  if (!("eventTime" in options)) return { eventTime: undefined, outOfOrdernessMs: 0, idleAfterMs };
  return {
    eventTime: options.eventTime as (value: unknown) => Instant,
    outOfOrdernessMs: durationMs(options.outOfOrderness, "outOfOrderness"),
    idleAfterMs,
  };
}

function sourceTwice(topic: string): MillraceError {
  return buildError(
    "SOURCE_TWICE",
    `The topic '${topic}' is a source twice.`,
    "Keep the stream in a variable and use it twice: it is read once.",
  );
}

function buildFailed(error: unknown, pipeline: string): MillraceError {
  return toMillraceError(error, "PIPELINE_BUILD_FAILED", `The pipeline '${pipeline}' can't be built.`, {
    domain: "user",
    hint: "The function given to pipeline(name, build) threw.",
  });
}
