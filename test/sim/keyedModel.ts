/**
 * What a compacted partition must hold. Every record says in a header which append it belongs to, so whatever is read is known for what it
 * is. A record may be missing where a later one of its key stands for it, where it is a tombstone past its time, or of an aborted
 * transaction; once it was seen to be gone it never comes back. Nothing ever has another offset.
 */
import type { TopicConfig } from "../../src/log/contract/partitionedLog.ts";
import type { StoredRecord } from "../../src/record/record.ts";
import type { KeyedBatch } from "./keyedReading.ts";
import { checkLoss, type Ended, type Fate, type Moment, type Sequenced } from "./partitionModel.ts";
import { demand } from "./violation.ts";

export interface KeyedTransaction {
  /** Once it was asked for, it is asked for until it is answered. */
  outcome: "commit" | "abort" | undefined;
  ended: boolean;
  readonly appends: KeyedAppend[];
}

export interface KeyedAppend {
  readonly id: number;
  readonly records: readonly KeyedRecord[];
  readonly sequenced: Sequenced | undefined;
  readonly transaction: KeyedTransaction | undefined;
  readonly sentAtMs: number;
  base: number | undefined;
  fate: Fate;
  /** One of several tries may have come through. */
  unclear: boolean;
  durable: boolean;
  keptAt: Moment;
}

export interface KeyedRecord {
  readonly append: KeyedAppend;
  readonly index: number;
  readonly key: string;
  /** null: a tombstone. */
  readonly value: Buffer | null;
  readonly timestamp: number;
  /** The turn in which it was first seen to be compacted away. */
  goneIn: number | undefined;
}

export type KeyedConfig = Partial<TopicConfig> &
  Pick<TopicConfig, "sync" | "deleteRetentionMs" | "minCompactionLagMs" | "cleanupPolicy" | "retentionMs">;

/** The header by which a record is known. */
export const markHeader = "append";

const offsetOf = ({ append, index }: KeyedRecord): number | undefined => (append.base === undefined ? undefined : append.base + index);

export class KeyedModel {
  private readonly appends = new Map<number, KeyedAppend>();
  private readonly byKey = new Map<string, KeyedRecord[]>();
  startOffset = 0;

  constructor(
    readonly where: string,
    private readonly config: KeyedConfig,
    private readonly note: (what: string) => void,
  ) {}

  // ---- what was asked for, and answered

  sent(append: KeyedAppend): void {
    this.appends.set(append.id, append);
    for (const record of append.records) this.byKey.set(record.key, [...(this.byKey.get(record.key) ?? []), record]);
  }

  kept(append: KeyedAppend, base: number, now: Moment): void {
    demand(append.fate !== "gone", () => `${this.name(append)} was acknowledged after a start had shown that it is not there`);
    this.place(append, base);
    if (append.fate === "kept") return;
    append.fate = "kept";
    append.keptAt = now;
    if (this.config.sync.kind === "always") append.durable = true;
  }

  /** The log takes back what lies from `offset` on. */
  cut(offset: number): void {
    for (const append of this.appends.values()) {
      const { base, records } = append;
      if (base === undefined || base + records.length <= offset) continue;
      demand(base >= offset, () => `${this.name(append)} is cut in the middle, at offset ${offset}`);
      demand(!append.durable, () => `${this.name(append)}, surely on the disk, is cut off at offset ${offset}`);
      append.base = undefined;
      if (append.fate === "kept" || append.fate === "open") append.fate = "unknown";
    }
  }

  /** Everything that is kept now is on the disk. */
  synced(): void {
    for (const append of this.appends.values()) if (append.fate === "kept") append.durable = true;
  }

  /** The kept appends of one producer, in order. */
  ofProducer(producer: string): KeyedAppend[] {
    const found = [...this.appends.values()].filter(({ sequenced, fate }) => sequenced?.producer === producer && fate === "kept");
    return found.sort((a, b) => (a.base as number) - (b.base as number));
  }

  /** What retention took was its to take. */
  startMoved(startOffset: number, nowMs: number): void {
    demand(startOffset >= this.startOffset, () => `the start of ${this.where} went back from ${this.startOffset} to ${startOffset}`);
    if (startOffset === this.startOffset) return;
    const { cleanupPolicy, retentionMs } = this.config;
    demand(cleanupPolicy === "compact,delete", () => `${this.where} begins at ${startOffset}, and all of its keys are to be kept`);
    this.note("retention by time removed keys");
    for (const record of this.records()) {
      const offset = offsetOf(record);
      if (offset === undefined || offset >= startOffset || record.goneIn !== undefined) continue;
      demand(record.timestamp + retentionMs < nowMs, () => `offset ${offset} of ${this.where} went too early`);
    }
    for (const append of this.appends.values()) {
      if (append.base !== undefined && append.base + append.records.length <= startOffset) this.forget(append);
    }
    this.startOffset = startOffset;
  }

  // ---- what is read

  /** The record that this is, in just the place where it was appended. Throws if nobody appended it, or if it was gone before `turn`. */
  recognised({ offset, key, value, timestamp, headers }: StoredRecord, turn = Number.POSITIVE_INFINITY): KeyedRecord {
    const mark = headers.find((header) => header.key === markHeader)?.value;
    const [id, index] = String(Buffer.from(mark ?? []))
      .split(".")
      .map(Number) as [number, number];
    const append = this.appends.get(id);
    const record = append?.records[index];
    demand(append !== undefined && record !== undefined, () => `${this.where} holds at offset ${offset} what nobody appended: ${id}`);
    const isSame =
      String(Buffer.from(key ?? [])) === record.key &&
      timestamp === record.timestamp &&
      (value === null || record.value === null ? value === record.value : record.value.equals(value));
    demand(isSame, () => `${this.name(append)} has another key, value or timestamp at offset ${offset}`);
    demand(append.fate !== "refused" && append.fate !== "gone", () => `${this.name(append)} was read`);
    this.place(append, offset - index);
    demand(record.goneIn === undefined || record.goneIn > turn, () => `${this.title(record)} was compacted away, and is back`);
    return record;
  }

  /** Checks what a running log let somebody read: all that it holds of the offsets from `from` up to `to`. */
  read(found: readonly StoredRecord[], from: number, to: number, began: Moment, now: Moment): void {
    const before = this.records().filter((record) => record.append.fate === "kept" && isWithin(record, from, to));
    const there = new Set(found.map((record) => this.recognised(record, began.turn)));
    this.checkOrder(found);
    for (const { append } of there) this.kept(append, append.base as number, now);
    this.checkMissing(before, there, now, Number.POSITIVE_INFINITY);
  }

  /** The same for a reader of committed records: those of a transaction that was not committed are not for it. */
  readCommitted(found: readonly StoredRecord[], from: number, to: number, began: Moment, now: Moment): void {
    const there = new Set(found.map((record) => this.recognised(record, began.turn)));
    this.checkOrder(found);
    for (const record of there) {
      demand(isCommitted(record), () => `${this.title(record)} was read as committed and is not`);
    }
    const expected = this.records().filter(
      (record) => record.append.fate === "kept" && isWithin(record, from, to) && isCommitted(record) && !there.has(record),
    );
    for (const record of expected) this.checkExplained(record, now, Number.POSITIVE_INFINITY);
  }

  /**
   * Checks all that a started log holds against all that was promised, and goes on from what is there.
   * @param batches also those of which no record stayed.
   */
  started(batches: readonly KeyedBatch[], startOffset: number, end: number, ended: Ended, now: Moment): void {
    this.startMoved(startOffset, now.ms);
    for (const append of this.appends.values()) if (append.fate === "unknown") append.base = undefined;
    const found = batches.flatMap(({ records }) => records);
    this.checkOrder(found);
    const records = new Set(found.map((record) => this.recognised(record)));
    const there = new Set([...records].map(({ append }) => append));
    for (const batch of batches) {
      const append = this.appendOf(batch);
      if (append === undefined) continue;
      demand(append.fate !== "refused" && append.fate !== "gone", () => `${this.name(append)} is there`);
      this.place(append, batch.base);
      there.add(append);
    }
    const lost: KeyedAppend[] = [];
    const expected: KeyedRecord[] = [];
    for (const append of this.appends.values()) {
      const { base, fate } = append;
      const isThere = there.has(append) || (fate === "kept" && base !== undefined && base < end);
      if (!isThere) lost.push(append);
      else {
        demand(
          (base as number) + append.records.length <= end,
          () => `${this.name(append)} is there with ${end - (base as number)} of ${append.records.length} records`,
        );
        expected.push(...append.records);
      }
    }
    if (!ended.saidCut()) this.checkMissing(expected, records, now, end);
    for (const append of lost) {
      if (append.fate === "kept") checkLoss(append, this.name(append), this.config.sync, ended);
      append.fate = append.fate === "refused" ? "refused" : "gone";
      append.base = undefined;
    }
    for (const { append } of expected) Object.assign(append, { fate: "kept", durable: true });
  }

  /** Checks the answer to a search by time, as far as it is known what must be there. */
  foundTimestamp(
    timestamp: number,
    found: { readonly offset: number; readonly timestamp: number } | undefined,
    from: number,
    to: number,
    now: Moment,
  ): void {
    demand(found === undefined || found.timestamp >= timestamp, () => `${this.where}: for ${timestamp} ${found?.timestamp} was found`);
    for (const record of this.records()) {
      const offset = offsetOf(record);
      if (record.append.fate !== "kept" || !isWithin(record, from, Math.min(to, found?.offset ?? to))) continue;
      if (record.timestamp < timestamp || record.goneIn !== undefined || this.mayBeGone(record, now, Number.POSITIVE_INFINITY)) continue;
      demand(false, () => `${this.where}: for ${timestamp} ${found?.offset} was found, and offset ${offset} has ${record.timestamp}`);
    }
  }

  // ---- within

  private checkOrder(found: readonly StoredRecord[]): void {
    for (let i = 1; i < found.length; i++) {
      const [before, after] = [found[i - 1] as StoredRecord, found[i] as StoredRecord];
      demand(after.offset > before.offset, () => `${this.where}: offset ${after.offset} follows ${before.offset}`);
    }
  }

  /** @param end nothing from there on is there. */
  private checkMissing(expected: readonly KeyedRecord[], there: ReadonlySet<KeyedRecord>, now: Moment, end: number): void {
    const gone = expected.filter((record) => !there.has(record) && record.goneIn === undefined);
    for (const record of gone) this.checkExplained(record, now, end);
    for (const record of gone) {
      record.goneIn = now.turn;
      this.note("a record was compacted away");
      if (record.value === null && !this.isReplaced(record, now, end)) this.note("a tombstone was compacted away");
    }
  }

  private checkExplained(record: KeyedRecord, now: Moment, end: number): void {
    if (record.goneIn !== undefined) return;
    demand(this.mayBeGone(record, now, end), () => `${this.title(record)} is missing at ${now.ms}`);
  }

  private mayBeGone(record: KeyedRecord, now: Moment, end: number): boolean {
    const { append, value } = record;
    if (!this.isOldEnough(record, now)) return false;
    if (append.transaction?.outcome === "abort") return true;
    if (!isCommitted(record)) return false;
    return this.isReplaced(record, now, end) || (value === null && append.sentAtMs + this.config.deleteRetentionMs <= now.ms);
  }

  /** Is there a later one of its key, in what may be compacted? */
  private isReplaced(record: KeyedRecord, now: Moment, end: number): boolean {
    const place = offsetOf(record) as number;
    return (this.byKey.get(record.key) ?? []).some((other) => {
      const { fate } = other.append;
      if (other === record || fate === "refused" || fate === "gone") return false;
      const offset = offsetOf(other);
      const isLater = offset === undefined ? fate !== "kept" : offset > place && offset < end;
      return isLater && isCommitted(other) && this.isOldEnough(other, now);
    });
  }

  private isOldEnough({ timestamp }: KeyedRecord, now: Moment): boolean {
    const { minCompactionLagMs } = this.config;
    return minCompactionLagMs === 0 || timestamp <= now.ms - minCompactionLagMs;
  }

  private appendOf({ producer, epoch, sequence, isMarker }: KeyedBatch): KeyedAppend | undefined {
    if (isMarker || sequence < 0) return undefined;
    // what a start has shown not to be there has its sequence given again
    const append = [...this.appends.values()].findLast(
      ({ sequenced }) => sequenced?.producer === producer && sequenced.epoch === epoch && sequenced.firstSequence === sequence,
    );
    demand(append !== undefined, () => `${this.where} holds a batch ${sequence} of ${producer}, epoch ${epoch}, that nobody appended`);
    return append;
  }

  private place(append: KeyedAppend, base: number): void {
    demand(append.base === undefined || append.base === base, () => `${this.name(append)} is at offset ${base} and was at ${append.base}`);
    append.base = base;
  }

  private records(): KeyedRecord[] {
    return [...this.appends.values()].flatMap(({ records }) => records);
  }

  private forget(append: KeyedAppend): void {
    this.appends.delete(append.id);
    for (const { key } of append.records) {
      this.byKey.set(
        key,
        (this.byKey.get(key) ?? []).filter((record) => record.append !== append),
      );
    }
  }

  private title(record: KeyedRecord): string {
    return `offset ${offsetOf(record)} with ${record.value === null ? "the tombstone" : "a value"} of ${record.key} of ${record.timestamp}, in ${this.name(record.append)},`;
  }

  private name({ id, base, records, fate, transaction }: KeyedAppend): string {
    const outcome = transaction === undefined ? "" : `, of a transaction with outcome ${transaction.outcome}`;
    return `append ${id} of ${records.length} records (${fate}, offset ${base}${outcome}) in ${this.where}`;
  }
}

/** What was not asked to be committed can hide nothing. */
const isCommitted = ({ append }: KeyedRecord): boolean => append.transaction === undefined || append.transaction.outcome === "commit";

function isWithin(record: KeyedRecord, from: number, to: number): boolean {
  const offset = offsetOf(record);
  return offset !== undefined && offset >= from && offset < to;
}
