import { MillraceError } from "../../../src/base/errors.ts";
import type { RowColumn, RowSchema } from "../../../src/stream/contract/columns.ts";
import { BooleanColumn } from "./booleanColumn.ts";
import { BytesColumn } from "./bytesColumn.ts";
import { checkValue } from "./checkValue.ts";
import type { ColumnBuffer, StagedValue } from "./columnBuffer.ts";
import { DoubleColumn, Int32Column, Int64Column } from "./fixedColumn.ts";
import { StringColumn } from "./stringColumn.ts";

/** Rows are staged, so that each column then takes a run of values in one tight loop. */
const stagedRowsMax = 512;
const stagedBytesMax = 1024 * 1024;
/** What a staged value takes beside its text or bytes. */
const stagedValueBytes = 8;

/** The rows of one row group, by column, in memory. */
export class RowGroup {
  readonly columns: readonly ColumnBuffer[];
  private readonly staged: StagedValue[][];
  private stagedRows = 0;
  private stagedBytes = 0;
  private columnBytes = 0;
  private settledRows = 0;

  constructor(readonly schema: RowSchema) {
    this.columns = schema.map(columnBuffer);
    this.staged = schema.map(() => []);
  }

  get rowCount(): number {
    return this.settledRows + this.stagedRows;
  }

  /** Memory taken, about. */
  get byteCount(): number {
    return this.columnBytes + this.stagedBytes;
  }

  /** Throws ROW_REFUSED before anything of the row counts: a row is staged once all its values were checked. */
  write(row: unknown): void {
    if (typeof row !== "object" || row === null) throw notARow(row);
    const schema = this.schema;
    const at = this.stagedRows;
    let bytes = schema.length * stagedValueBytes;
    for (let i = 0; i < schema.length; i++) {
      const column = schema[i] as RowColumn;
      const value = checkValue(column, (row as Record<string, unknown>)[column.name]);
      if (typeof value === "string") bytes += value.length * 2;
      else if (value instanceof Uint8Array) bytes += value.length;
      (this.staged[i] as StagedValue[])[at] = value;
    }
    this.stagedRows = at + 1;
    this.stagedBytes += bytes;
    if (this.stagedRows === stagedRowsMax || this.stagedBytes >= stagedBytesMax) this.settle();
  }

  /** Moves staged rows into the columns; the columns are complete after it. */
  settle(): void {
    let bytes = 0;
    for (let i = 0; i < this.columns.length; i++) {
      const column = this.columns[i] as ColumnBuffer;
      if (this.stagedRows > 0) column.append(this.staged[i] as StagedValue[], this.stagedRows);
      bytes += column.byteCount;
      // large values must not live on in the staging area
      if (this.stagedBytes >= stagedBytesMax) (this.staged[i] as StagedValue[]).length = 0;
    }
    this.settledRows += this.stagedRows;
    this.stagedRows = 0;
    this.stagedBytes = 0;
    this.columnBytes = bytes;
  }
}

function columnBuffer(column: RowColumn): ColumnBuffer {
  switch (column.type) {
    case "int64":
    case "timestamp":
      return new Int64Column(column.optional);
    case "int32":
      return new Int32Column(column.optional);
    case "double":
      return new DoubleColumn(column.optional);
    case "string":
      return new StringColumn(column.optional);
    case "boolean":
      return new BooleanColumn(column.optional);
    case "bytes":
      return new BytesColumn(column.optional);
  }
}

function notARow(row: unknown): MillraceError {
  const kind = row === null ? "null" : typeof row;
  return new MillraceError("ROW_REFUSED", `a row must be an object with the sink's columns, this one is ${kind}`, { domain: "user" });
}
