import { Observable, type OperatorFunction } from "rxjs";
import { MillraceError } from "../../base/errors.ts";
import { nearest } from "../../base/nearest.ts";
import { buildError } from "../engine/buildError.ts";
import type { KeyId, KeySpec } from "../engine/context.ts";
import { EngineNode } from "../engine/node.ts";
import { attach, EngineStream, graphInBuild } from "../engine/stream.ts";
import { columnTypeOfValue } from "../schema/valueTypes.ts";
import type { Keyed, KeyValue, Show } from "./types.ts";

type KeyFunctions<T> = Record<string, (value: T) => KeyValue>;

/** What follows happens for each key by itself. By column, `keyBy("origin")`, or computed, `keyBy({ far: (f) => f.distance > 1000 })`. */
export function keyBy<T, S extends KeyFunctions<T>>(key: S): OperatorFunction<T, Keyed<{ [P in keyof S]: ReturnType<S[P]> }, T>>;
// last: its errors are the ones shown, so the names are spelled out and not hidden behind an alias
export function keyBy<T, const N extends readonly { [P in keyof T & string]-?: T[P] extends KeyValue ? P : never }[keyof T & string][]>(
  ...names: N
): OperatorFunction<T, Keyed<Show<Pick<T, N[number]>>, T>>;
export function keyBy(...by: (string | KeyFunctions<unknown>)[]): OperatorFunction<unknown, never> {
  const parts = by.flatMap((part): [string, (value: unknown) => KeyValue][] =>
    typeof part === "string" ? [[part, (value) => (value as Record<string, KeyValue>)[part] as KeyValue]] : Object.entries(part),
  );
  const columns = by.filter((part) => typeof part === "string");
  return (source) => {
    const graph = graphInBuild("keyBy");
    if (source instanceof EngineStream) checkColumns(columns, source.node.properties);
    return new EngineStream<never>(new KeyByNode(graph, source, parts));
  };
}

/** The compiler says so too; but a pipeline may come without types. */
function checkColumns(columns: readonly string[], known: readonly string[] | undefined): void {
  const missing = known && columns.find((column) => !known.includes(column));
  if (known === undefined || missing === undefined) return;
  const meant = nearest(missing, known);
  throw buildError(
    "KEY_UNKNOWN",
    `keyBy(${JSON.stringify(missing)}): the events have no such property${meant === undefined ? "" : `; did you mean ${JSON.stringify(meant)}?`}`,
    `They have ${known.join(", ")}.`,
  );
}

class KeyByNode extends EngineNode {
  private readonly spec: KeySpec;
  private readonly read: readonly ((value: unknown) => KeyValue)[];

  constructor(
    graph: EngineNode["graph"],
    private readonly source: Observable<unknown>,
    parts: readonly [string, (value: unknown) => KeyValue][],
  ) {
    super(graph, "keyBy");
    this.spec = { names: parts.map(([name]) => name), types: [] };
    this.read = parts.map(([, read]) => read);
  }

  override get keySpec(): KeySpec {
    return this.spec;
  }

  override get properties(): readonly string[] | undefined {
    return this.source instanceof EngineStream ? this.source.node.properties : undefined;
  }

  attach(): void {
    attach(this, this.source);
  }

  protected receive(value: unknown): void {
    const { context } = this.graph;
    const { keySpec, keyId, keyValues } = context;
    const values = this.read.map((read) => read(value));
    context.keyId = keyIdOf(values, this.spec);
    context.keyValues = values;
    context.keySpec = this.spec;
    if (this.spec.types.length === 0) this.learnTypes(values, value);
    this.emit(value);
    context.keySpec = keySpec;
    context.keyId = keyId;
    context.keyValues = keyValues;
  }

  /** A key column keeps its schema's type while the record is the very object that was decoded. */
  private learnTypes(values: readonly KeyValue[], value: unknown): void {
    const { context } = this.graph;
    const columns = context.emitted === value ? context.emittedColumns : undefined;
    this.spec.names.forEach((name, index) => {
      const fromSchema = columns?.find((column) => column.name === name)?.type;
      this.spec.types.push(fromSchema ?? columnTypeOfValue(values[index]));
    });
  }
}

/** Equal keys give equal primitives; of several columns, text with its lengths: no two keys collide. */
export function keyIdOf(values: readonly KeyValue[], spec: KeySpec): KeyId {
  if (values.length === 1) return primitiveOf(values[0], spec, 0);
  let id = "";
  for (let i = 0; i < values.length; i++) {
    const part = String(primitiveOf(values[i], spec, i));
    id += `${part.length}:${part}`;
  }
  return id;
}

function primitiveOf(value: KeyValue | null | undefined, spec: KeySpec, index: number): KeyId {
  if (typeof value === "string") return value;
  if (typeof value === "boolean" || typeof value === "bigint") return value;
  const number = value instanceof Date ? value.getTime() : value;
  if (typeof number === "number" && !Number.isNaN(number)) return number;
  throw new MillraceError("KEY_INVALID", `The key column '${spec.names[index]}' is ${value === null ? "null" : String(value)}.`, {
    domain: "user",
    hint: "Filter such records out before keyBy, or compute a key that always has a value.",
  });
}
