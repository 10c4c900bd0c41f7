import type { Observable } from "rxjs";
import type { Json } from "../../log/contract/keyedStore.ts";
import type { ColumnType, RowColumn, RowSchema } from "../contract/columns.ts";
import { buildError } from "../engine/buildError.ts";
import type { KeySpec, WindowSpec } from "../engine/context.ts";
import type { Graph } from "../engine/graph.ts";
import { EngineNode, type Fingerprint, type Stateful } from "../engine/node.ts";
import { attach } from "../engine/stream.ts";
import { columnTypeOfValue } from "../schema/valueTypes.ts";
import type { Aggregate } from "./aggregates.ts";
import { keyIdOf } from "./keyBy.ts";
import { inKeyOrder, type KeyState, type OpenWindow, WindowState } from "./windowState.ts";

type Named = readonly [name: string, aggregate: Aggregate<never, unknown>];

type AggregateSnapshot = {
  /** The order of the states. */
  readonly names: readonly string[];
  readonly keyTypes: readonly (ColumnType | null)[];
  /** Column types that were learnt from values. */
  readonly learnt: { readonly [name: string]: ColumnType };
  readonly windows: Json;
};

export class AggregateNode extends EngineNode {
  override readonly stateful: Stateful;
  private readonly state = new WindowState();
  private readonly names: readonly string[];
  private readonly aggregates: readonly Aggregate<unknown, unknown>[];
  private readonly learnt = new Map<string, ColumnType>();
  private key: KeySpec = { names: [], types: [] };
  private window: WindowSpec = { kind: "", sizeMs: 0, offsetMs: 0 };
  private columns: RowSchema | undefined;

  constructor(
    graph: Graph,
    private readonly source: Observable<unknown>,
    named: readonly Named[],
    id: string,
  ) {
    super(graph, id);
    this.names = named.map(([name]) => name);
    this.aggregates = named.map(([, aggregate]) => aggregate as Aggregate<unknown, unknown>);
    this.stateful = {
      id,
      fingerprint: () => this.fingerprint(),
      snapshot: () => this.snapshot(),
      restore: (state) => this.restore(state as AggregateSnapshot),
    };
  }

  attach(): void {
    attach(this, this.source);
    const { keySpec, windowSpec } = this;
    if (keySpec === undefined) throw buildError("KEY_MISSING", "aggregate has no keyBy before it.", "Put keyBy(...) before the window.");
    if (windowSpec === undefined) {
      throw buildError("WINDOW_MISSING", "aggregate has no window before it.", 'Put a window such as tumbling("1 h") before it.');
    }
    for (const upstream of this.upstreams) this.checkAgreement(upstream);
    this.key = { names: keySpec.names, types: [] };
    this.window = windowSpec;
  }

  /** Rows that leave here are neither keyed nor in a window any more. */
  override get keySpec(): KeySpec | undefined {
    return this.place < 0 ? super.keySpec : undefined;
  }

  override get windowSpec(): WindowSpec | undefined {
    return this.place < 0 ? super.windowSpec : undefined;
  }

  protected receive(value: unknown): void {
    const { context } = this.graph;
    const window = this.state.window(context.windowStart, context.windowEnd);
    this.nextTimer = this.state.nextEnd;
    let entry = window.keys.get(context.keyId);
    if (entry === undefined) {
      entry = { keyId: context.keyId, keyValues: context.keyValues, states: this.aggregates.map((aggregate) => aggregate.start()) };
      window.keys.set(context.keyId, entry);
      if (this.key.types.length === 0) this.key.types.push(...(context.keySpec?.types ?? []));
    }
    const { states } = entry;
    for (let i = 0; i < states.length; i++) states[i] = (this.aggregates[i] as Aggregate<unknown, unknown>).add(states[i], value);
  }

  override onWatermark(time: number): void {
    for (const window of this.state.take(time)) {
      for (const entry of inKeyOrder(window)) {
        this.fire(window, entry);
        if (this.graph.broken) return;
      }
    }
    this.nextTimer = this.state.nextEnd;
  }

  private fire(window: OpenWindow, entry: KeyState): void {
    const { graph } = this;
    const { context } = graph;
    const row: Record<string, unknown> = {};
    this.key.names.forEach((name, index) => {
      row[name] = entry.keyValues[index];
    });
    row.windowStart = new Date(window.start);
    row.windowEnd = new Date(window.end);
    this.names.forEach((name, index) => {
      row[name] = (this.aggregates[index] as Aggregate<unknown, unknown>).result(entry.states[index]);
    });
    if (graph.skipsFiring?.(this.stateful.id, window.start, entry.keyId, row) === true) return;
    const wrong = this.learn(row);
    if (wrong !== undefined) {
      graph.deadLetters?.row(row, "COLUMN_MISMATCH", wrong, this.stateful.id);
      return;
    }
    context.timestamp = window.end - 1;
    context.keySpec = this.key;
    context.keyId = entry.keyId;
    context.keyValues = entry.keyValues;
    context.firing = { operator: this.stateful.id, windowStart: window.start, keyId: entry.keyId };
    context.emitted = row;
    context.emittedColumns = this.columns;
    this.emit(row);
    context.keySpec = undefined;
    context.firing = undefined;
    context.emitted = undefined;
  }

  /** The types of results that have the type of what was read; what is wrong if this row's are others than those of the rows before. */
  private learn(row: Readonly<Record<string, unknown>>): string | undefined {
    let changed = this.columns === undefined;
    for (let i = 0; i < this.names.length; i++) {
      if (this.aggregates[i]?.column !== "same") continue;
      const name = this.names[i] as string;
      const type = columnTypeOfValue(row[name]);
      const before = this.learnt.get(name);
      if (type === undefined || type === before) continue;
      if (before !== undefined) return `column '${name}' is a ${before} and the row has a ${type}`;
      this.learnt.set(name, type);
      changed = true;
    }
    if (changed) this.columns = this.rowColumns();
    return undefined;
  }

  private rowColumns(): RowSchema {
    const columns: RowColumn[] = this.key.names.map((name, index) => ({ name, type: this.key.types[index] ?? "string", optional: false }));
    columns.push({ name: "windowStart", type: "timestamp", optional: false }, { name: "windowEnd", type: "timestamp", optional: false });
    this.names.forEach((name, index) => {
      const column = this.aggregates[index]?.column;
      const type = column === "same" ? this.learnt.get(name) : column;
      if (type !== undefined) columns.push({ name, type, optional: column === "same" });
    });
    return columns;
  }

  private fingerprint(): Fingerprint {
    const { kind, sizeMs, offsetMs } = this.window;
    const results = this.names.map((name, index) => [name, `${this.aggregates[index]?.kind} ${this.aggregates[index]?.column}`]);
    return { kind: "aggregate", key: this.key.names, window: kind, size: sizeMs, offset: offsetMs, results: Object.fromEntries(results) };
  }

  private snapshot(): AggregateSnapshot {
    const keyTypes = this.key.types.map((type) => type ?? null);
    return { names: this.names, keyTypes, learnt: Object.fromEntries(this.learnt), windows: this.state.snapshot() };
  }

  private restore(snapshot: AggregateSnapshot): void {
    this.key.types.push(...snapshot.keyTypes.map((type) => type ?? undefined));
    for (const [name, type] of Object.entries(snapshot.learnt)) this.learnt.set(name, type);
    const arrange = (states: unknown[]): unknown[] =>
      this.names.map((name, index) => {
        const at = snapshot.names.indexOf(name);
        return at < 0 ? this.aggregates[index]?.start() : states[at];
      });
    this.state.restore(snapshot.windows, (values) => keyIdOf(values, this.key), arrange);
    this.nextTimer = this.state.nextEnd;
  }

  private checkAgreement(upstream: EngineNode): void {
    const { keySpec, windowSpec } = upstream;
    const sameKey = keySpec === undefined || keySpec.names.join() === this.keySpec?.names.join();
    const sameWindow =
      windowSpec === undefined || (windowSpec.sizeMs === this.windowSpec?.sizeMs && windowSpec.offsetMs === this.windowSpec.offsetMs);
    if (sameKey && sameWindow) return;
    throw buildError(
      "STREAMS_DISAGREE",
      `The streams merged before '${this.stateful.id}' have different keys or windows.`,
      "Merge them before keyBy and the window.",
    );
  }
}
