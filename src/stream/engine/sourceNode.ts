import type { RowSchema } from "../contract/columns.ts";
import { DecodeProblem, type JsonCodec } from "../schema/jsonCodec.ts";
import { shapeOf } from "../schema/shape.ts";
import { type Instant, instantMs } from "../time.ts";
import type { Topic } from "../topic.ts";
import type { Graph } from "./graph.ts";
import { EngineNode } from "./node.ts";

export interface SourceSettings {
  /** undefined: the record's own timestamp. */
  readonly eventTime: ((value: unknown) => Instant) | undefined;
  readonly outOfOrdernessMs: number;
  /** undefined: a partition without records holds the watermark back for ever. */
  readonly idleAfterMs: number | undefined;
}

/** A topic's records as values: the top of the graph. */
export class SourceNode extends EngineNode {
  private readonly codec: JsonCodec<unknown>;
  private readonly columns: RowSchema | undefined;

  constructor(
    graph: Graph,
    topic: Topic<unknown>,
    readonly settings: SourceSettings,
  ) {
    super(graph, `source ${topic.name}`);
    this.topicName = topic.name;
    this.codec = topic.codec;
    const { columns, properties } = shapeOf(topic.schema);
    this.columns = columns;
    this.known = properties;
  }

  readonly topicName: string;
  private readonly known: readonly string[] | undefined;

  attach(): void {
    // fed by the task
  }

  override get keySpec(): undefined {
    return undefined;
  }

  override get windowSpec(): undefined {
    return undefined;
  }

  override get properties(): readonly string[] | undefined {
    return this.known;
  }

  protected receive(value: unknown): void {
    this.emit(value);
  }

  /** Pushes one record through everything below; what is wrong with it, if it can't be read. The context's place is set. */
  push(bytes: Buffer, valueAt: number, valueBytes: number): RecordProblem | undefined {
    if (valueBytes < 0) return { reason: "NO_VALUE", message: "the record has no value" };
    const value = this.codec.decode(bytes.toString("utf8", valueAt, valueAt + valueBytes));
    if (value instanceof DecodeProblem) return { reason: value.code, message: value.message };
    const { context } = this.graph;
    const { eventTime } = this.settings;
    if (eventTime !== undefined) {
      const time = eventTimeOf(eventTime, value);
      if (typeof time !== "number") return time;
      context.timestamp = time;
    }
    context.emitted = value;
    context.emittedColumns = this.columns;
    this.emit(value);
    return undefined;
  }
}

export interface RecordProblem {
  readonly reason: string;
  readonly message: string;
}

/** What Date can hold. */
const TIME_MAX_MS = 8.64e15;

function eventTimeOf(eventTime: (value: unknown) => Instant, value: unknown): number | RecordProblem {
  let time: number;
  try {
    time = instantMs(eventTime(value));
  } catch (error) {
    return { reason: "CALLBACK_FAILED", message: `eventTime: ${error instanceof Error ? error.message : String(error)}` };
  }
  return Math.abs(time) <= TIME_MAX_MS ? time : { reason: "EVENT_TIME_INVALID", message: "eventTime gave no point in time" };
}
