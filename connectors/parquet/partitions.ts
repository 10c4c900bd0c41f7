/**
 * The Hive layout: `name=value/` for each partition, in the order in which they are declared. Readers take these columns from the path.
 * Characters that a path or Hive gives a meaning are %XX of their UTF-8 bytes; null and the empty string are Hive's default partition.
 */
import { MillraceError } from "../../src/base/errors.ts";
import type { RowSchema } from "../../src/stream/contract/columns.ts";

/** A Date has no one spelling: day(), hour() and month() make a value of it. */
export type PartitionValue = string | number | boolean | null | undefined;

export type PartitionBy<T> = Readonly<Record<string, (row: T) => PartitionValue>>;

const defaultPartition = "__HIVE_DEFAULT_PARTITION__";
/** A folder's name has at most 255 bytes on the usual file systems. */
const folderBytesMax = 255;
/** Beside control characters. */
const escaped = new Set("\"#%'*/:=?\\{[]^<>|");

export class Partitions {
  private readonly names: readonly string[];
  private readonly valueOf: readonly ((row: never) => PartitionValue)[];
  private readonly lastValues: PartitionValue[] = [];
  private lastFolder = "";

  constructor(partitionBy: PartitionBy<never>) {
    this.names = Object.keys(partitionBy);
    this.valueOf = Object.values(partitionBy);
    if (this.names.includes("")) throw new MillraceError("PARTITION_NAME_EMPTY", "a partition has no name", { domain: "user" });
  }

  /** The row's folder, relative to the output; "" when nothing is partitioned. */
  folderOf(row: unknown): string {
    try {
      if (this.differs(row)) this.lastFolder = this.names.map((name, i) => partitionFolder(name, this.lastValues[i])).join("/");
      return this.lastFolder;
    } catch (error) {
      this.lastValues.length = 0; // nothing is known about a refused row's folder
      if (error instanceof MillraceError) throw error;
      throw new MillraceError("ROW_REFUSED", `partitionBy failed on the row: ${String(error)}`, { domain: "user", cause: error });
    }
  }

  /** Rows of one partition mostly follow each other: their folder is made once. */
  private differs(row: unknown): boolean {
    const last = this.lastValues;
    let same = last.length === this.names.length;
    for (let i = 0; i < this.valueOf.length; i++) {
      const value = this.valueOf[i]?.(row as never);
      if (same && value === last[i]) continue;
      same = false;
      last[i] = value;
    }
    return !same;
  }

  /** A name that is also a column's would have two values in every reader. Hive does not tell case. */
  refuseColumns(columns: RowSchema): void {
    const taken = new Map(columns.map((column) => [column.name.toLowerCase(), column.name]));
    for (const name of this.names) {
      const column = taken.get(name.toLowerCase());
      if (column === undefined) continue;
      throw new MillraceError("PARTITION_IS_COLUMN", `the partition "${name}" has the name of the column "${column}"`, {
        domain: "user",
        where: `partitionBy.${name}`,
        hint: "Readers take partitions from the path: give the partition another name, or drop the column before the sink.",
      });
    }
  }
}

function partitionFolder(name: string, value: PartitionValue): string {
  const folder = `${escapeHive(name)}=${valueText(name, value)}`;
  if (Buffer.byteLength(folder) <= folderBytesMax) return folder;
  throw refused(name, `a value of ${String(value).length} characters, which is too long for a folder's name`);
}

function valueText(name: string, value: PartitionValue): string {
  if (value === null || value === undefined || value === "") return defaultPartition;
  if (typeof value === "string" || typeof value === "boolean" || typeof value === "number") return escapeHive(String(value));
  throw refused(name, `a value of type ${typeof value}; day(), hour() and month() make a partition of a Date`);
}

/** By code point; a lone surrogate has no UTF-8 and becomes U+FFFD. */
function escapeHive(text: string): string {
  return Array.from(text, (char) => {
    const code = char.codePointAt(0) as number;
    const lone = code >= 0xd800 && code <= 0xdfff;
    return code < 32 || code === 127 || lone || escaped.has(char) ? percent(char) : char;
  }).join("");
}

function percent(char: string): string {
  let out = "";
  for (const byte of Buffer.from(char)) out += `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  return out;
}

function refused(name: string, what: string): MillraceError {
  return new MillraceError("ROW_REFUSED", `the partition "${name}" of the row has ${what}`, {
    domain: "user",
    where: `partitionBy.${name}`,
  });
}
