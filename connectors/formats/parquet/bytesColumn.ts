import { ByteBuffer } from "./byteBuffer.ts";
import type { ColumnBuffer, ColumnStatistics, Page, StagedValue } from "./columnBuffer.ts";
import { Presence } from "./columnBuffer.ts";
import { statisticsBytesMax } from "./format.ts";
import { plainBinaryPages } from "./plainBinary.ts";

/** Bytes without a meaning of their own: always PLAIN, in the order of unsigned bytes. */
export class BytesColumn implements ColumnBuffer {
  private readonly presence: Presence;
  private readonly plain = new ByteBuffer(4096);
  private min: Uint8Array | undefined;
  private max: Uint8Array | undefined;

  constructor(optional: boolean) {
    this.presence = new Presence(optional);
  }

  get rowCount(): number {
    return this.presence.rowCount;
  }

  get byteCount(): number {
    return this.plain.length + this.presence.rowCount;
  }

  append(values: readonly StagedValue[], count: number): void {
    this.presence.append(values, count);
    for (let i = 0; i < count; i++) {
      const value = values[i] as Uint8Array | null;
      if (value === null) continue;
      this.plain.lengthAndBytes(value);
      if (this.min === undefined || Buffer.compare(value, this.min) < 0) this.min = value;
      if (this.max === undefined || Buffer.compare(value, this.max) > 0) this.max = value;
    }
  }

  pages(): Generator<Page, void> {
    return plainBinaryPages(this.presence, this.plain.view());
  }

  statistics(): ColumnStatistics {
    return { nullCount: this.presence.nullCount, ...shortBounds(this.min, this.max) };
  }
}

/** Both bounds, or none when one of them is too long for the footer. */
export function shortBounds(min: Uint8Array | undefined, max: Uint8Array | undefined): Pick<ColumnStatistics, "min" | "max"> {
  if (min === undefined || max === undefined) return {};
  return min.length > statisticsBytesMax || max.length > statisticsBytesMax ? {} : { min, max };
}
