import type { ColumnType, RowColumn, RowSchema } from "../../../src/stream/contract/columns.ts";
import type { ColumnStatistics, Page } from "./columnBuffer.ts";
import type { Compression } from "./compression.ts";
import { compressionCodec } from "./compression.ts";
import { convertedType, encoding, pageKind, physicalTypeOf, repetition } from "./format.ts";
import { ThriftWriter, thriftType } from "./thrift.ts";

/** parquet-mr parses this name to know which bugs a writer had. */
const createdBy = "millrace version 0.1.0 (build columnar)";

/** Where a column chunk lies, filled in while its pages are written. */
export interface ChunkMetadata {
  readonly column: RowColumn;
  readonly statistics: ColumnStatistics;
  readonly encodings: Set<number>;
  valueCount: number;
  uncompressedBytes: number;
  compressedBytes: number;
  dictionaryOffset: number | undefined;
  dataOffset: number;
}

export interface RowGroupMetadata {
  readonly chunks: readonly ChunkMetadata[];
  readonly rowCount: number;
}

export interface FileMetadata {
  readonly schema: RowSchema;
  readonly compression: Compression;
  readonly rowGroups: readonly RowGroupMetadata[];
  readonly keyValues: Readonly<Record<string, string>>;
}

export function pageHeader(page: Page, compressedBytes: number): Buffer {
  const thrift = new ThriftWriter();
  thrift.element(() => {
    thrift.i32(1, page.kind);
    thrift.i32(2, page.body.length);
    thrift.i32(3, compressedBytes);
    thrift.struct(page.kind === pageKind.data ? 5 : 7, () => {
      thrift.i32(1, page.valueCount);
      thrift.i32(2, page.encoding);
      if (page.kind !== pageKind.data) return;
      thrift.i32(3, encoding.rle);
      thrift.i32(4, encoding.rle);
    });
  });
  return thrift.view();
}

export function fileFooter(file: FileMetadata): Buffer {
  const thrift = new ThriftWriter();
  thrift.element(() => {
    thrift.i32(1, 1);
    writeSchema(thrift, file.schema);
    thrift.i64(
      3,
      file.rowGroups.reduce((sum, group) => sum + group.rowCount, 0),
    );
    thrift.list(4, thriftType.struct, file.rowGroups.length);
    for (const group of file.rowGroups) thrift.element(() => writeRowGroup(thrift, group, file.compression));
    const keyValues = Object.entries(file.keyValues);
    thrift.list(5, thriftType.struct, keyValues.length);
    for (const [key, value] of keyValues) {
      thrift.element(() => {
        thrift.binary(1, key);
        thrift.binary(2, value);
      });
    }
    thrift.binary(6, createdBy);
    // without the order of a column's type, readers ignore min and max
    thrift.list(7, thriftType.struct, file.schema.length);
    for (let i = 0; i < file.schema.length; i++) thrift.element(() => thrift.struct(1, () => undefined));
  });
  return thrift.view();
}

function writeSchema(thrift: ThriftWriter, schema: RowSchema): void {
  thrift.list(2, thriftType.struct, schema.length + 1);
  thrift.element(() => {
    thrift.binary(4, "schema");
    thrift.i32(5, schema.length);
  });
  for (const column of schema) {
    thrift.element(() => {
      thrift.i32(1, physicalTypeOf[column.type]);
      thrift.i32(3, column.optional ? repetition.optional : repetition.required);
      thrift.binary(4, column.name);
      writeLogicalType(thrift, column.type);
    });
  }
}

/** Converted type for old readers, logical type for new ones. */
function writeLogicalType(thrift: ThriftWriter, type: ColumnType): void {
  if (type === "string") {
    thrift.i32(6, convertedType.utf8);
    thrift.struct(10, () => thrift.struct(1, () => undefined));
  } else if (type === "timestamp") {
    thrift.i32(6, convertedType.timestampMillis);
    thrift.struct(10, () => {
      thrift.struct(8, () => {
        thrift.boolean(1, true); // adjusted to UTC
        thrift.struct(2, () => thrift.struct(1, () => undefined)); // milliseconds
      });
    });
  }
}

function writeRowGroup(thrift: ThriftWriter, group: RowGroupMetadata, compression: Compression): void {
  thrift.list(1, thriftType.struct, group.chunks.length);
  for (const chunk of group.chunks) {
    thrift.element(() => {
      thrift.i64(2, 0); // deprecated offset of the chunk's metadata: only in the footer
      thrift.struct(3, () => writeChunk(thrift, chunk, compression));
    });
  }
  thrift.i64(2, total(group.chunks, "uncompressedBytes"));
  thrift.i64(3, group.rowCount);
  const first = group.chunks[0];
  if (first !== undefined) thrift.i64(5, first.dictionaryOffset ?? first.dataOffset);
  thrift.i64(6, total(group.chunks, "compressedBytes"));
}

function writeChunk(thrift: ThriftWriter, chunk: ChunkMetadata, compression: Compression): void {
  thrift.i32(1, physicalTypeOf[chunk.column.type]);
  thrift.list(2, thriftType.i32, chunk.encodings.size);
  for (const used of chunk.encodings) thrift.integer(used);
  thrift.list(3, thriftType.binary, 1);
  thrift.binaryElement(chunk.column.name);
  thrift.i32(4, compressionCodec[compression]);
  thrift.i64(5, chunk.valueCount);
  thrift.i64(6, chunk.uncompressedBytes);
  thrift.i64(7, chunk.compressedBytes);
  thrift.i64(9, chunk.dataOffset);
  if (chunk.dictionaryOffset !== undefined) thrift.i64(11, chunk.dictionaryOffset);
  thrift.struct(12, () => {
    thrift.i64(3, chunk.statistics.nullCount);
    if (chunk.statistics.max !== undefined) thrift.binary(5, chunk.statistics.max);
    if (chunk.statistics.min !== undefined) thrift.binary(6, chunk.statistics.min);
  });
}

function total(chunks: readonly ChunkMetadata[], bytes: "compressedBytes" | "uncompressedBytes"): number {
  return chunks.reduce((sum, chunk) => sum + chunk[bytes], 0);
}
