/**
 * A Parquet file as it is written here:
 *
 *   "PAR1"
 *   row group*:  column chunk*:  [dictionary page]  data page*      page = header (Thrift), body (compressed)
 *   footer (Thrift FileMetaData): schema, where each chunk lies, statistics, key-values
 *   footer length (4 bytes, little endian)  "PAR1"
 *
 * Data pages are version 1 with PLAIN or PLAIN_DICTIONARY values: every reader takes them; version 2, RLE booleans and the newer name of the
 * same dictionary encoding (RLE_DICTIONARY) are refused by some.
 * Invariants: a chunk is all dictionary or all plain; only a finished file ends with the footer, so a torn one is never taken for a result.
 */
import type { ColumnType } from "../../../src/stream/contract/columns.ts";

export const magic = "PAR1";

const physicalType = { boolean: 0, int32: 1, int64: 2, double: 5, byteArray: 6 } as const;
export const encoding = { plain: 0, rle: 3, plainDictionary: 2 } as const;
export const pageKind = { data: 0, dictionary: 2 } as const;
export const repetition = { required: 0, optional: 1 } as const;
export const convertedType = { utf8: 0, timestampMillis: 9 } as const;

export const physicalTypeOf: Readonly<Record<ColumnType, number>> = {
  boolean: physicalType.boolean,
  int32: physicalType.int32,
  int64: physicalType.int64,
  timestamp: physicalType.int64,
  double: physicalType.double,
  string: physicalType.byteArray,
  bytes: physicalType.byteArray,
};

/** A page ends at whichever comes first; readers skip and decode by page. */
export const pageBytesMax = 1024 * 1024;
export const pageRowsMax = 20_000;

/** One string or bytes value (in bytes); a longer one is refused, since a page must stay far below 2 GiB. */
export const valueBytesMax = 64 * 1024 * 1024;

/** Longer min and max values are left out rather than cut: a cut one is not an exact value, and some readers take it for one. */
export const statisticsBytesMax = 128;
