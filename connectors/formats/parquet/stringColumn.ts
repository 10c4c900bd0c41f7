import { ByteBuffer } from "./byteBuffer.ts";
import { shortBounds } from "./bytesColumn.ts";
import type { ColumnBuffer, ColumnStatistics, Page, StagedValue } from "./columnBuffer.ts";
import { Presence } from "./columnBuffer.ts";
import { dictionaryDataPage } from "./dictionaryPage.ts";
import { encoding, pageKind, pageRowsMax } from "./format.ts";
import { plainBinaryPages } from "./plainBinary.ts";
import { isAscii, textBefore, wellFormed } from "./textOrder.ts";

/** Limits of a row group's dictionary of one column; beyond either the column turns plain. */
const dictionaryEntriesMax = 32_768;
const dictionaryUnitsMax = 1024 * 1024;
/** From so many values on at least every third must be a repetition. */
const probeValues = 4096;

/**
 * Strings start with a dictionary; when it does not pay, what was collected is written out and the rest of the row group is plain.
 * Lone surrogates have no UTF-8: they become U+FFFD.
 */
export class StringColumn implements ColumnBuffer {
  private readonly presence: Presence;
  private readonly entryOf = new Map<string, number>();
  private readonly entries: string[] = [];
  private indexes = new Int32Array(1024);
  private indexCount = 0;
  private unitCount = 0;
  /** Set once the dictionary was given up. */
  private plain: ByteBuffer | undefined;
  private min: string | undefined;
  private max: string | undefined;
  private allAscii = true;

  constructor(optional: boolean) {
    this.presence = new Presence(optional);
  }

  get rowCount(): number {
    return this.presence.rowCount;
  }

  get byteCount(): number {
    const values = this.plain === undefined ? this.indexCount * 4 + this.unitCount * 2 : this.plain.length;
    return values + this.presence.rowCount;
  }

  append(values: readonly StagedValue[], count: number): void {
    this.presence.append(values, count);
    if (this.plain === undefined) this.collect(values, count);
    else this.appendPlain(this.plain, values, count);
  }

  *pages(): Generator<Page, void> {
    if (this.plain !== undefined) {
      yield* plainBinaryPages(this.presence, this.plain.view());
      return;
    }
    if (this.entries.length === 0) {
      yield* plainBinaryPages(this.presence, Buffer.alloc(0));
      return;
    }
    const body = new ByteBuffer(this.unitCount + this.entries.length * 4);
    for (const entry of this.entries) body.lengthAndText(entry);
    yield { kind: pageKind.dictionary, encoding: encoding.plainDictionary, valueCount: this.entries.length, body: body.view() };
    for (const slice of this.presence.slices(pageRowsMax)) {
      yield dictionaryDataPage(this.presence, slice, this.indexes, this.entries.length);
    }
  }

  statistics(): ColumnStatistics {
    if (this.plain === undefined) for (const entry of this.entries) this.bound(entry);
    const nullCount = this.presence.nullCount;
    if (this.min === undefined || this.max === undefined) return { nullCount };
    return { nullCount, ...shortBounds(Buffer.from(this.min), Buffer.from(this.max)) };
  }

  private collect(values: readonly StagedValue[], count: number): void {
    this.reserveIndexes(count);
    for (let i = 0; i < count; i++) {
      const value = values[i] as string | null;
      if (value === null) continue;
      this.indexes[this.indexCount++] = this.entryOf.get(value) ?? this.addEntry(value);
    }
    const entryCount = this.entries.length;
    const mostlyDistinct = this.indexCount >= probeValues && entryCount * 3 > this.indexCount * 2;
    if (mostlyDistinct || entryCount > dictionaryEntriesMax || this.unitCount > dictionaryUnitsMax) this.giveUpDictionary();
  }

  /** An entry is in the dictionary once, also when several spellings with lone surrogates mean it. */
  private addEntry(value: string): number {
    const text = isAscii(value) ? value : wellFormed(value);
    const known = text === value ? undefined : this.entryOf.get(text);
    const entry = known ?? this.entries.push(text) - 1;
    this.entryOf.set(value, entry);
    if (known === undefined) this.entryOf.set(text, entry);
    this.unitCount += value.length;
    return entry;
  }

  private giveUpDictionary(): void {
    const plain = new ByteBuffer(Math.max(4096, this.unitCount * 2));
    for (const entry of this.entries) this.bound(entry);
    for (let i = 0; i < this.indexCount; i++) plain.lengthAndText(this.entries[this.indexes[i] as number] as string);
    this.plain = plain;
    this.entryOf.clear();
    this.entries.length = 0;
    this.indexes = new Int32Array(0);
  }

  private appendPlain(plain: ByteBuffer, values: readonly StagedValue[], count: number): void {
    for (let i = 0; i < count; i++) {
      const value = values[i] as string | null;
      if (value === null) continue;
      plain.lengthAndText(value);
      this.bound(value);
    }
  }

  private bound(value: string): void {
    if (this.allAscii && !isAscii(value)) this.allAscii = false;
    if (this.allAscii) {
      // ASCII is in UTF-8 order as it stands
      if (this.min === undefined || value < this.min) this.min = value;
      if (this.max === undefined || value > this.max) this.max = value;
      return;
    }
    const text = wellFormed(value);
    if (this.min === undefined || textBefore(text, this.min)) this.min = text;
    if (this.max === undefined || textBefore(this.max, text)) this.max = text;
  }

  private reserveIndexes(count: number): void {
    const needed = this.indexCount + count;
    if (needed <= this.indexes.length) return;
    const grown = new Int32Array(Math.max(this.indexes.length * 2, needed));
    grown.set(this.indexes);
    this.indexes = grown;
  }
}
