import { ByteBuffer } from "./byteBuffer.ts";
import type { ColumnBuffer, ColumnStatistics, Page, StagedValue } from "./columnBuffer.ts";
import { Presence } from "./columnBuffer.ts";
import { encoding, pageKind, pageRowsMax } from "./format.ts";

/** PLAIN booleans: one bit a value, the first value in the lowest bit. */
export class BooleanColumn implements ColumnBuffer {
  private readonly presence: Presence;
  private readonly values = new ByteBuffer(1024);
  private trueCount = 0;

  constructor(optional: boolean) {
    this.presence = new Presence(optional);
  }

  get rowCount(): number {
    return this.presence.rowCount;
  }

  get byteCount(): number {
    return this.values.length + this.presence.rowCount;
  }

  append(values: readonly StagedValue[], count: number): void {
    this.presence.append(values, count);
    this.values.reserve(count);
    for (let i = 0; i < count; i++) {
      const value = values[i];
      if (value === null) continue;
      const bit = value === true ? 1 : 0;
      this.values.bytes[this.values.length++] = bit;
      this.trueCount += bit;
    }
  }

  *pages(): Generator<Page, void> {
    for (const slice of this.presence.slices(pageRowsMax)) {
      const page = new ByteBuffer(((slice.valueEnd - slice.valueStart) >> 3) + 64);
      this.presence.writeLevels(page, slice);
      this.writeBits(page, slice.valueStart, slice.valueEnd);
      yield { kind: pageKind.data, encoding: encoding.plain, valueCount: slice.rowEnd - slice.rowStart, body: page.view() };
    }
  }

  statistics(): ColumnStatistics {
    const nullCount = this.presence.nullCount;
    const count = this.values.length;
    if (count === 0) return { nullCount };
    return { nullCount, min: Buffer.from([this.trueCount === count ? 1 : 0]), max: Buffer.from([this.trueCount > 0 ? 1 : 0]) };
  }

  private writeBits(page: ByteBuffer, start: number, end: number): void {
    const byteCount = (end - start + 7) >> 3;
    page.reserve(byteCount);
    const at = page.length;
    page.length += byteCount;
    page.bytes.fill(0, at, page.length);
    for (let i = start; i < end; i++) {
      if (this.values.bytes[i] === 1) page.bytes[at + ((i - start) >> 3)]! |= 1 << ((i - start) & 7);
    }
  }
}
