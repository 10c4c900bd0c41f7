import { ByteBuffer } from "./byteBuffer.ts";
import type { Page, PageSlice, Presence } from "./columnBuffer.ts";
import { encoding, pageBytesMax, pageKind, pageRowsMax } from "./format.ts";

/** Pages of values that lie one after the other as length (4 bytes) and bytes: what PLAIN is for them. A page ends by bytes or by rows. */
export function* plainBinaryPages(presence: Presence, values: Buffer): Generator<Page, void> {
  let row = 0;
  let value = 0;
  let at = 0;
  while (row < presence.rowCount) {
    const slice = { rowStart: row, rowEnd: row, valueStart: value, valueEnd: value };
    const start = at;
    while (row < presence.rowCount && row - slice.rowStart < pageRowsMax && at - start < pageBytesMax) {
      if (presence.has(row)) {
        at += 4 + values.readInt32LE(at);
        value++;
      }
      row++;
    }
    slice.rowEnd = row;
    slice.valueEnd = value;
    yield plainPage(presence, slice, values.subarray(start, at));
  }
}

function plainPage(presence: Presence, slice: PageSlice, values: Buffer): Page {
  const page = new ByteBuffer(values.length + 64);
  presence.writeLevels(page, slice);
  page.append(values);
  return { kind: pageKind.data, encoding: encoding.plain, valueCount: slice.rowEnd - slice.rowStart, body: page.view() };
}
