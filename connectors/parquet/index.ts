/**
 * Rows into Parquet files of a local folder, each exactly once.
 *
 *   sink(hourly, parquet({ to: "out/hourly-delays", partitionBy: { day: (row) => day(row.windowStart) } }));
 *
 * Files become visible with the checkpoint that holds them, whole: until then they are under `_pending` in the same folder.
 */
import { MillraceError } from "../../src/base/errors.ts";
import type { ColumnType } from "../../src/stream/contract/columns.ts";
import type { Sink } from "../../src/stream/contract/sink.ts";
import type { Compression } from "../formats/parquet/compression.ts";
import { compressionCodec } from "../formats/parquet/compression.ts";
import type { ParquetLimits } from "./limits.ts";
import { limitsOf } from "./limits.ts";
import type { PartitionBy } from "./partitions.ts";
import { Partitions } from "./partitions.ts";
import { openParquetWriter } from "./writer.ts";

export { day, hour, month } from "./calendar.ts";
export type { PartitionValue } from "./partitions.ts";
export type { Compression };

export interface ParquetOptions<T> extends Partial<ParquetLimits> {
  /** The folder; a relative one is relative to the node's base directory. Made when it is missing. */
  readonly to: string;
  /** Folders in Hive layout, `day=2001-01-01/`; a partition must not have the name of a column. */
  readonly partitionBy?: PartitionBy<T>;
  /** Types of columns, where what the pipeline knows of them is not what the file should have. */
  readonly columns?: { readonly [P in keyof T]?: ColumnType };
  /** Default zstd (level 1), the smallest and about as fast as snappy. */
  readonly compression?: Compression;
}

export function parquet<T>(options: ParquetOptions<T>): Sink<T, "columns"> {
  const { to, columns, compression = "zstd" } = options;
  if (typeof to !== "string" || to === "") throw invalid("to", "must be the path of a folder");
  if (compressionCodec[compression] === undefined)
    throw invalid("compression", `must be one of ${Object.keys(compressionCodec).join(", ")}`);
  const partitionBy = (options.partitionBy ?? {}) as PartitionBy<never>;
  const givenColumns = columns as Readonly<Record<string, ColumnType>> | undefined;
  const named = Object.entries(givenColumns ?? {}).map(([name, type]) => ({ name, type, optional: true }));
  new Partitions(partitionBy).refuseColumns(named);
  const writerOptions = { to, partitionBy, compression, limits: limitsOf(options) };
  return {
    kind: "sink",
    name: `parquet ${to}`,
    wants: "columns",
    columns: givenColumns,
    open: (context) => openParquetWriter(writerOptions, context),
  };
}

function invalid(option: string, what: string): MillraceError {
  return new MillraceError("SINK_OPTION_INVALID", `${option} of the Parquet sink ${what}`, {
    domain: "user",
    where: `parquet({ ${option} })`,
  });
}
