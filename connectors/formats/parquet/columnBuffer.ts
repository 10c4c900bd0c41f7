import type { ByteBuffer } from "./byteBuffer.ts";
import { bitWidthOf, writeHybrid } from "./hybrid.ts";

/** A value that was checked against its column's type; timestamps are milliseconds. */
export type StagedValue = number | bigint | string | boolean | Uint8Array | null;

export interface Page {
  readonly kind: number;
  readonly encoding: number;
  /** With nulls; of a dictionary page its entries. */
  readonly valueCount: number;
  /** Its own memory: it is compressed while the next page is being made. */
  readonly body: Buffer;
}

export interface ColumnStatistics {
  readonly nullCount: number;
  readonly min?: Uint8Array | undefined;
  readonly max?: Uint8Array | undefined;
}

/** The part of a column that one page holds: rows, and the values among them that are not null. */
export interface PageSlice {
  readonly rowStart: number;
  readonly rowEnd: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

/** One column of one row group: values are appended, then turned into pages once. */
export interface ColumnBuffer {
  readonly rowCount: number;
  /** Memory that the values take, about. */
  readonly byteCount: number;
  append(values: readonly StagedValue[], count: number): void;
  pages(): Generator<Page, void>;
  statistics(): ColumnStatistics;
}

/** Which rows have a value. A required column keeps only the count. */
export class Presence {
  rowCount = 0;
  valueCount = 0;
  private levels: Uint8Array;

  constructor(private readonly optional: boolean) {
    this.levels = new Uint8Array(optional ? 1024 : 0);
  }

  append(values: readonly StagedValue[], count: number): void {
    const start = this.rowCount;
    this.rowCount += count;
    if (!this.optional) {
      this.valueCount += count;
      return;
    }
    if (this.rowCount > this.levels.length) {
      const grown = new Uint8Array(Math.max(this.levels.length * 2, this.rowCount));
      grown.set(this.levels.subarray(0, start));
      this.levels = grown;
    }
    const levels = this.levels;
    let present = 0;
    for (let i = 0; i < count; i++) {
      const level = values[i] === null ? 0 : 1;
      levels[start + i] = level;
      present += level;
    }
    this.valueCount += present;
  }

  get nullCount(): number {
    return this.rowCount - this.valueCount;
  }

  has(row: number): boolean {
    return !this.optional || this.levels[row] === 1;
  }

  /** Slices of at most `rowsMax` rows. */
  *slices(rowsMax: number): Generator<PageSlice, void> {
    let valueStart = 0;
    for (let rowStart = 0; rowStart < this.rowCount; rowStart += rowsMax) {
      const rowEnd = Math.min(rowStart + rowsMax, this.rowCount);
      let valueEnd = valueStart;
      if (this.optional) for (let row = rowStart; row < rowEnd; row++) valueEnd += this.levels[row] as number;
      else valueEnd += rowEnd - rowStart;
      yield { rowStart, rowEnd, valueStart, valueEnd };
      valueStart = valueEnd;
    }
  }

  /** Definition levels as a version 1 page starts with them: their length (4 bytes), then the hybrid; nothing for a required column. */
  writeLevels(out: ByteBuffer, slice: PageSlice): void {
    if (!this.optional) return;
    const start = out.length;
    out.u32(0);
    writeHybrid(out, this.levels, slice.rowStart, slice.rowEnd, bitWidthOf(1));
    out.bytes.writeInt32LE(out.length - start - 4, start);
  }
}
