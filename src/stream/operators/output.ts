import { buildError } from "../engine/buildError.ts";
import type { Graph } from "../engine/graph.ts";
import { EngineNode, type Stateful } from "../engine/node.ts";
import { EngineStream } from "../engine/stream.ts";
import type { Schema } from "../schema/schema.ts";
import { shapeOf } from "../schema/shape.ts";
import type { Output } from "./types.ts";

/** A side output's node: operators push into it, and it is connected after every one of them. */
export class OutputNode extends EngineNode {
  override readonly stateful: Stateful;
  private readonly feeders = new Set<EngineNode>();

  constructor(
    graph: Graph,
    readonly id: string,
    private readonly schema: Schema,
  ) {
    super(graph, id);
    this.stateful = { id: `output:${id}`, fingerprint: () => ({ kind: "output" }), snapshot: () => null, restore: () => undefined };
  }

  fedBy(node: EngineNode): void {
    this.feeders.add(node);
  }

  attach(): void {
    for (const feeder of this.feeders) this.graph.link(feeder);
  }

  /** Side outputs are neither keyed nor in a window, whatever fed them. */
  override get keySpec(): undefined {
    return undefined;
  }

  override get windowSpec(): undefined {
    return undefined;
  }

  override get properties(): readonly string[] | undefined {
    return shapeOf(this.schema).properties;
  }

  protected receive(value: unknown): void {
    const { context } = this.graph;
    const { emitted, emittedColumns } = context;
    context.emitted = value;
    context.emittedColumns = shapeOf(this.schema).columns;
    this.emit(value);
    context.emitted = emitted;
    context.emittedColumns = emittedColumns;
  }
}

export class OutputStream<T> extends EngineStream<T> implements Output<T> {
  constructor(override readonly node: OutputNode) {
    super(node);
  }

  get id(): string {
    return this.node.id;
  }
}

/** The node of an output that this build made. */
export function outputNodeOf(output: Output<unknown>, graph: Graph): OutputNode {
  if (output instanceof OutputStream && output.node.graph === graph) return output.node;
  throw buildError(
    "FOREIGN_OUTPUT",
    "An output of another pipeline, or none, is given.",
    "Make it with output(id, schema) in this pipeline.",
  );
}
