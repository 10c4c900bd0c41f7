import type { Observable, OperatorFunction } from "rxjs";
import type { RowSchema } from "../contract/columns.ts";
import { EngineNode } from "../engine/node.ts";
import { attach, EngineStream, graphInBuild } from "../engine/stream.ts";
import type { Schema } from "../schema/schema.ts";
import { shapeOf } from "../schema/shape.ts";

/** Gives rows that a function made the columns of a schema. What flows in must fit it; it is not checked again. */
// biome-ignore lint/suspicious/noExplicitAny: the schema's input is of no interest here.
export function as<O>(schema: Schema<any, O>): OperatorFunction<O, O> {
  return (source) => new EngineStream<O>(new AsNode(source, shapeOf(schema).columns));
}

class AsNode extends EngineNode {
  constructor(
    private readonly source: Observable<unknown>,
    private readonly columns: RowSchema | undefined,
  ) {
    super(graphInBuild("as"), "as");
  }

  attach(): void {
    attach(this, this.source);
  }

  protected receive(value: unknown): void {
    const { context } = this.graph;
    const { emitted, emittedColumns } = context;
    context.emitted = value;
    context.emittedColumns = this.columns;
    this.emit(value);
    context.emitted = emitted;
    context.emittedColumns = emittedColumns;
  }
}
