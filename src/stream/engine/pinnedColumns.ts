import type { SinkState } from "../checkpoint/checkpoint.ts";
import type { ColumnType, RowColumn, RowSchema } from "../contract/columns.ts";
import { sameColumns } from "../schema/rowSchema.ts";
import { columnTypeOfValue } from "../schema/valueTypes.ts";

/**
 * The columns of a sink's rows. Known ones (of an engine operator, as(), a source's schema) are pinned with the first row; rows of unknown
 * origin give theirs by their values: a column is pinned, as optional, at its first value that is not null. Either way the sink gets the
 * same object row after row, and a row that doesn't fit is refused with the reason.
 */
export class PinnedColumns {
  private pinned: RowSchema | undefined;
  private inferred = false;
  private types = new Map<string, ColumnType>();
  /** Known columns that were found to be the pinned ones. */
  private readonly accepted = new WeakSet<RowSchema>();

  constructor(
    private readonly byHand: Readonly<Record<string, ColumnType>> | undefined,
    /** The sink needs a type for every property. */
    private readonly strict: boolean,
  ) {}

  get state(): SinkState["columns"] {
    return this.pinned === undefined ? null : { schema: this.pinned, inferred: this.inferred };
  }

  /** Inferred columns hold for ever; known ones come from the code, whose new version may have more. */
  restore(state: SinkState["columns"]): void {
    if (state?.inferred === true) this.pin(state.schema, true);
  }

  /** The pinned columns, or what is wrong with the row. */
  of(row: unknown, known: RowSchema | undefined): RowSchema | string {
    if (known !== undefined && this.pinned !== undefined && this.accepted.has(known)) return this.pinned;
    return known === undefined ? this.infer(row) : this.accept(known);
  }

  private accept(known: RowSchema): RowSchema | string {
    const columns = this.withHand(known);
    if (this.pinned === undefined || this.extendsPinned(columns)) this.pin(columns, false);
    else if (!sameColumns(columns, this.pinned)) {
      return `its columns are ${namesOf(columns)} and the sink's are ${namesOf(this.pinned)}`;
    }
    this.accepted.add(known);
    return this.pinned as RowSchema;
  }

  private infer(row: unknown): RowSchema | string {
    if (typeof row !== "object" || row === null) return `the row is no object but ${row === null ? "null" : typeof row}`;
    let added: RowColumn[] | undefined;
    for (const name in row) {
      const value = (row as Record<string, unknown>)[name];
      if (value === null || value === undefined) continue;
      const type = columnTypeOfValue(value);
      const before = this.types.get(name);
      if (before === undefined) {
        const chosen = this.byHand?.[name] ?? type;
        if (chosen !== undefined) (added ??= []).push({ name, type: chosen, optional: true });
        else if (this.strict) return `'${name}' has no column type`;
      } else if (type !== before && !fits(type, before)) {
        return `column '${name}' is a ${before} and the row has ${type === undefined ? "none of the column types" : `a ${type}`}`;
      }
    }
    if (added !== undefined || this.pinned === undefined) this.pin([...(this.pinned ?? []), ...(added ?? [])], true);
    return this.pinned as RowSchema;
  }

  private pin(schema: RowSchema, inferred: boolean): void {
    this.pinned = schema;
    this.inferred = inferred;
    this.types = new Map(schema.map(({ name, type }) => [name, type]));
  }

  private extendsPinned(columns: RowSchema): boolean {
    const { pinned } = this;
    return pinned !== undefined && columns.length > pinned.length && sameColumns(columns.slice(0, pinned.length), pinned);
  }

  private withHand(known: RowSchema): RowSchema {
    const { byHand } = this;
    if (byHand === undefined) return known;
    return known.map((column) => ({ ...column, type: byHand[column.name] ?? column.type }));
  }
}

/** Values that a column of another type takes too: numbers fit integer columns and timestamps, the sink refuses those that don't. */
function fits(type: ColumnType | undefined, column: ColumnType): boolean {
  if (type === "double") return column === "int64" || column === "int32" || column === "timestamp";
  return type === column;
}

const namesOf = (schema: RowSchema): string => schema.map(({ name, type }) => `${name} ${type}`).join(", ");
