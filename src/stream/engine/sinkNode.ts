import type { Observable } from "rxjs";
import { MillraceError } from "../../base/errors.ts";
import type { SinkState } from "../checkpoint/checkpoint.ts";
import type { RowSchema } from "../contract/columns.ts";
import type { Sink, SinkWriter } from "../contract/sink.ts";
import type { Graph } from "./graph.ts";
import { EngineNode, type Stateful } from "./node.ts";
import { PinnedColumns } from "./pinnedColumns.ts";
import { attach } from "./stream.ts";

/** The end of a stream: rows leave the engine here. */
export class SinkNode extends EngineNode {
  override readonly stateful: Stateful;
  rows = 0;
  readonly columns: PinnedColumns;
  private writer: SinkWriter | undefined;

  constructor(
    graph: Graph,
    readonly id: string,
    readonly sink: Sink<never, unknown>,
    private readonly source: Observable<unknown>,
  ) {
    super(graph, id);
    this.columns = new PinnedColumns(sink.columns, sink.wants === "columns");
    const fingerprint = { kind: "sink", target: sink.name };
    this.stateful = { id: `sink:${id}`, fingerprint: () => fingerprint, snapshot: () => null, restore: () => undefined };
  }

  attach(): void {
    attach(this, this.source);
  }

  open(writer: SinkWriter, before: SinkState | undefined): void {
    this.writer = writer;
    this.rows = before?.rows ?? 0;
    this.columns.restore(before?.columns ?? null);
  }

  protected receive(row: unknown): void {
    const { context } = this.graph;
    const columns = this.columns.of(row, context.emitted === row ? context.emittedColumns : undefined);
    if (typeof columns === "string") {
      this.graph.deadLetters?.row(row, "COLUMN_MISMATCH", columns, this.id);
      return;
    }
    this.write(row, columns);
  }

  /** A refused row is the row's fault alone; whatever else a writer throws is the writer's, and the task can't go on. */
  private write(row: unknown, columns: RowSchema): void {
    try {
      (this.writer as SinkWriter).write(row, columns, this.graph.context);
      this.rows++;
    } catch (error) {
      if (error instanceof MillraceError && error.code === "ROW_REFUSED") {
        this.graph.deadLetters?.row(row, error.code, error.message, this.id);
      } else {
        this.graph.halt(sinkFailed(error, this.id));
      }
    }
  }
}

export function sinkFailed(error: unknown, id: string): MillraceError {
  if (error instanceof MillraceError) return error;
  return new MillraceError("SINK_FAILED", `The sink '${id}' failed.`, { domain: "external", where: `sink ${id}`, cause: error });
}
