import type { Compression } from "../../../connectors/formats/parquet/compression.ts";
import { ParquetFileWriter } from "../../../connectors/formats/parquet/fileWriter.ts";
import { RowGroup } from "../../../connectors/formats/parquet/rowGroup.ts";
import { nodeFileSystem } from "../../../src/base/nodeFileSystem.ts";
import type { RowSchema } from "../../../src/stream/contract/columns.ts";

export type Row = Record<string, unknown>;

export interface EncodeOptions {
  readonly compression?: Compression;
  readonly rowGroupRows?: number;
  readonly keyValues?: Record<string, string>;
}

/** Rows to a new Parquet file, without the sink around the encoder. */
export async function encode(path: string, schema: RowSchema, rows: Iterable<Row>, options: EncodeOptions = {}): Promise<void> {
  const file = await nodeFileSystem.open(path, "create");
  const writer = new ParquetFileWriter(file, schema, options.compression ?? "zstd");
  let group = new RowGroup(schema);
  for (const row of rows) {
    group.write(row);
    if (group.rowCount < (options.rowGroupRows ?? 100_000)) continue;
    await writer.writeRowGroup(group);
    group = new RowGroup(schema);
  }
  await writer.writeRowGroup(group);
  await writer.finish(options.keyValues ?? {});
  await file.close();
}
