import { ByteBuffer } from "./byteBuffer.ts";
import type { Page, PageSlice, Presence } from "./columnBuffer.ts";
import { encoding, pageKind } from "./format.ts";
import { bitWidthOf, writeHybrid } from "./hybrid.ts";

/** A data page of dictionary indexes: levels, one byte with the indexes' width in bits, the indexes as hybrid runs. */
export function dictionaryDataPage(presence: Presence, slice: PageSlice, indexes: Int32Array, entryCount: number): Page {
  const bitWidth = bitWidthOf(entryCount - 1);
  const page = new ByteBuffer((((slice.valueEnd - slice.valueStart) * bitWidth) >> 3) + 64);
  presence.writeLevels(page, slice);
  page.u8(bitWidth);
  writeHybrid(page, indexes, slice.valueStart, slice.valueEnd, bitWidth);
  return { kind: pageKind.data, encoding: encoding.plainDictionary, valueCount: slice.rowEnd - slice.rowStart, body: page.view() };
}
