import { ByteBuffer } from "./byteBuffer.ts";
import type { ColumnBuffer, ColumnStatistics, Page, StagedValue } from "./columnBuffer.ts";
import { Presence } from "./columnBuffer.ts";
import { dictionaryDataPage } from "./dictionaryPage.ts";
import { encoding, pageBytesMax, pageKind, pageRowsMax } from "./format.ts";
import { wordDictionary } from "./wordDictionary.ts";

const initialValues = 512;

/** Values of 4 or 8 bytes, kept as they will lie in the file (little endian). */
abstract class FixedColumn implements ColumnBuffer {
  protected words: Int32Array;
  protected readonly presence: Presence;
  /** Values that are kept. */
  protected count = 0;

  constructor(
    optional: boolean,
    private readonly wordsPerValue: 1 | 2,
  ) {
    this.presence = new Presence(optional);
    this.words = new Int32Array(initialValues * wordsPerValue);
  }

  get rowCount(): number {
    return this.presence.rowCount;
  }

  get byteCount(): number {
    return this.count * this.wordsPerValue * 4 + this.presence.rowCount;
  }

  append(values: readonly StagedValue[], count: number): void {
    const needed = (this.count + count) * this.wordsPerValue;
    if (needed > this.words.length) {
      const grown = new Int32Array(Math.max(this.words.length * 2, needed));
      grown.set(this.words);
      this.words = grown;
      this.viewsChanged();
    }
    this.presence.append(values, count);
    this.store(values, count);
  }

  *pages(): Generator<Page, void> {
    const width = this.wordsPerValue * 4;
    const bytes = Buffer.from(this.words.buffer, 0, this.count * width);
    const dictionary = wordDictionary(this.words, this.count, this.wordsPerValue);
    if (dictionary !== undefined) {
      const { firsts, indexes } = dictionary;
      const body = new Int32Array(firsts.length * this.wordsPerValue);
      for (let entry = 0; entry < firsts.length; entry++) {
        const from = (firsts[entry] as number) * this.wordsPerValue;
        for (let word = 0; word < this.wordsPerValue; word++) body[entry * this.wordsPerValue + word] = this.words[from + word] as number;
      }
      yield { kind: pageKind.dictionary, encoding: encoding.plainDictionary, valueCount: firsts.length, body: Buffer.from(body.buffer) };
      for (const slice of this.presence.slices(pageRowsMax)) yield dictionaryDataPage(this.presence, slice, indexes, firsts.length);
      return;
    }
    for (const slice of this.presence.slices(Math.min(pageRowsMax, Math.floor(pageBytesMax / width)))) {
      const page = new ByteBuffer((slice.valueEnd - slice.valueStart) * width + 64);
      this.presence.writeLevels(page, slice);
      page.append(bytes.subarray(slice.valueStart * width, slice.valueEnd * width));
      yield { kind: pageKind.data, encoding: encoding.plain, valueCount: slice.rowEnd - slice.rowStart, body: page.view() };
    }
  }

  abstract statistics(): ColumnStatistics;
  protected abstract store(values: readonly StagedValue[], count: number): void;

  protected viewsChanged(): void {
    // only columns that look at the same memory in another type have views
  }

  protected bytesOfValue(index: number): Uint8Array {
    const width = this.wordsPerValue * 4;
    return Buffer.from(this.words.buffer, index * width, width);
  }
}

export class Int32Column extends FixedColumn {
  constructor(optional: boolean) {
    super(optional, 1);
  }

  statistics(): ColumnStatistics {
    const nullCount = this.presence.nullCount;
    if (this.count === 0) return { nullCount };
    const words = this.words;
    let min = 0;
    let max = 0;
    for (let i = 1; i < this.count; i++) {
      if ((words[i] as number) < (words[min] as number)) min = i;
      if ((words[i] as number) > (words[max] as number)) max = i;
    }
    return { nullCount, min: this.bytesOfValue(min), max: this.bytesOfValue(max) };
  }

  protected store(values: readonly StagedValue[], count: number): void {
    const words = this.words;
    let at = this.count;
    for (let i = 0; i < count; i++) {
      const value = values[i];
      if (value !== null) words[at++] = value as number;
    }
    this.count = at;
  }
}

/** int64 and timestamp. Numbers are split in two words; no BigInt is made of them. */
export class Int64Column extends FixedColumn {
  private longs: BigInt64Array;

  constructor(optional: boolean) {
    super(optional, 2);
    this.longs = new BigInt64Array(this.words.buffer);
  }

  statistics(): ColumnStatistics {
    const nullCount = this.presence.nullCount;
    if (this.count === 0) return { nullCount };
    let min = 0;
    let max = 0;
    for (let i = 1; i < this.count; i++) {
      if (this.before(i, min)) min = i;
      else if (this.before(max, i)) max = i;
    }
    return { nullCount, min: this.bytesOfValue(min), max: this.bytesOfValue(max) };
  }

  protected store(values: readonly StagedValue[], count: number): void {
    const words = this.words;
    let at = this.count;
    for (let i = 0; i < count; i++) {
      const value = values[i];
      if (typeof value === "number") {
        // a safe integer is low + high * 2^32 exactly; `| 0` takes it modulo 2^32
        words[at * 2] = value | 0;
        words[at * 2 + 1] = Math.floor(value / 4294967296);
        at++;
      } else if (value !== null) this.longs[at++] = value as bigint;
    }
    this.count = at;
  }

  protected override viewsChanged(): void {
    this.longs = new BigInt64Array(this.words.buffer);
  }

  private before(left: number, right: number): boolean {
    const words = this.words;
    const highLeft = words[left * 2 + 1] as number;
    const highRight = words[right * 2 + 1] as number;
    if (highLeft !== highRight) return highLeft < highRight;
    return (words[left * 2] as number) >>> 0 < (words[right * 2] as number) >>> 0;
  }
}

export class DoubleColumn extends FixedColumn {
  private doubles: Float64Array;

  constructor(optional: boolean) {
    super(optional, 2);
    this.doubles = new Float64Array(this.words.buffer);
  }

  /**
   * No bounds as soon as there is a NaN: it must not be one, and a reader that orders it above all numbers would skip the row group
   * when asked for the great ones. Zero bounds are -0 and +0, since readers may or may not take them as equal.
   */
  statistics(): ColumnStatistics {
    const nullCount = this.presence.nullCount;
    if (this.count === 0) return { nullCount };
    const doubles = this.doubles;
    let min = Infinity;
    let max = -Infinity;
    for (let i = 0; i < this.count; i++) {
      const value = doubles[i] as number;
      if (value < min) min = value;
      if (value > max) max = value;
      if (value !== value) return { nullCount };
    }
    return { nullCount, min: doubleBytes(min === 0 ? -0 : min), max: doubleBytes(max === 0 ? 0 : max) };
  }

  protected store(values: readonly StagedValue[], count: number): void {
    const doubles = this.doubles;
    let at = this.count;
    for (let i = 0; i < count; i++) {
      const value = values[i];
      if (value !== null) doubles[at++] = value as number;
    }
    this.count = at;
  }

  protected override viewsChanged(): void {
    this.doubles = new Float64Array(this.words.buffer);
  }
}

function doubleBytes(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes;
}
