import { MillraceError } from "../../src/base/errors.ts";

/** What the sink holds in memory and how files are cut; each can be set in the sink's options. */
export interface ParquetLimits {
  /** A row group is written when it has taken about this much memory, or so many rows. */
  readonly rowGroupBytesMax: number;
  readonly rowGroupRowsMax: number;
  /** A file with so many rows is closed and another one begun. */
  readonly fileRowsMax: number;
  /** Rows in memory, over all files: above it the task waits for the disk. */
  readonly bufferBytesMax: number;
  /** Files (partitions) that are written at once; above it the largest one is closed early. */
  readonly openFilesMax: number;
}

const defaults: ParquetLimits = {
  rowGroupBytesMax: 32 * 1024 * 1024,
  rowGroupRowsMax: 1_000_000,
  fileRowsMax: 50_000_000,
  bufferBytesMax: 64 * 1024 * 1024,
  openFilesMax: 64,
};

export function limitsOf(given: { readonly [P in keyof ParquetLimits]?: number | undefined }): ParquetLimits {
  const limits: Record<keyof ParquetLimits, number> = { ...defaults };
  for (const name of Object.keys(defaults) as (keyof ParquetLimits)[]) {
    const value = given[name];
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new MillraceError(
        "SINK_OPTION_INVALID",
        `${name} of the Parquet sink must be a whole number of at least 1, not ${String(value)}`,
        {
          domain: "user",
          where: `parquet({ ${name} })`,
        },
      );
    }
    limits[name] = value;
  }
  return limits;
}
