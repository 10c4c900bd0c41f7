/**
 * The input: three million real flights of January to June 2001 (the npm package vega-datasets), in event-time order. A flight's id is
 * its row number in the file, from 0. Kept as columns: 24 bytes a flight, so that all of them fit in memory.
 */
import { asyncBufferFromFile, parquetMetadataAsync, parquetRead } from "hyparquet";
import { compressors } from "hyparquet-compressors";

export interface Flights {
  readonly count: number;
  /** Event time, ms UTC; never decreases. */
  readonly dates: Float64Array;
  readonly delays: Int32Array;
  readonly distances: Int32Array;
  readonly origins: readonly string[];
  readonly destinations: readonly string[];
}

/** The first `wanted` flights, or those of January. */
export async function readFlights(path: string, wanted: number | "january" | "all"): Promise<Flights> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file);
  const limit = typeof wanted === "number" ? Math.min(wanted, Number(metadata.num_rows)) : Number(metadata.num_rows);
  const before = wanted === "january" ? Date.UTC(2001, 1, 1) : Number.POSITIVE_INFINITY;
  const dates = new Float64Array(limit);
  const delays = new Int32Array(limit);
  const distances = new Int32Array(limit);
  const origins: string[] = [];
  const destinations: string[] = [];
  const keep: Record<string, (row: number, value: unknown) => void> = {
    date: (row, value) => (dates[row] = (value as Date).getTime()),
    delay: (row, value) => (delays[row] = Number(value)),
    distance: (row, value) => (distances[row] = Number(value)),
    origin: (row, value) => (origins[row] = value as string),
    destination: (row, value) => (destinations[row] = value as string),
  };

  let read = 0;
  for (const group of metadata.row_groups) {
    if (read >= limit || (read > 0 && (dates[read - 1] as number) >= before)) break;
    const rowEnd = Math.min(read + Number(group.num_rows), limit);
    await parquetRead({
      file,
      metadata,
      compressors,
      rowStart: read,
      rowEnd,
      onChunk({ columnName, columnData, rowStart }) {
        const put = keep[columnName];
        if (put === undefined) return;
        const rows = Math.min(columnData.length, limit - rowStart);
        for (let row = 0; row < rows; row++) put(rowStart + row, columnData[row]);
      },
    });
    read = rowEnd;
  }
  const end = dates.subarray(0, read).findIndex((date) => date >= before);
  return { count: end === -1 ? read : end, dates, delays, distances, origins, destinations };
}
