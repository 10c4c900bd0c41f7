/**
 * What a partition must hold, beside the partition itself. The unit is what was appended as one: a record, or a batch. Every record says in
 * its value which append it belongs to, so whatever is read is known for what it is, or for what nobody wrote.
 */
import type { Random } from "../../src/base/random.ts";
import type { SyncPolicy } from "../../src/log/contract/partitionedLog.ts";
import type { StoredRecord } from "../../src/record/record.ts";
import { demand } from "./violation.ts";

/**
 * open: nobody has said anything yet. kept: acknowledged, or read. refused: never appears. unknown: it failed in a way that leaves it
 * there whole, once, or never; the next start decides. gone: a start has shown that it is not there.
 */
export type Fate = "open" | "kept" | "refused" | "unknown" | "gone";

export interface Sequenced {
  readonly producer: string;
  readonly epoch: number;
  readonly firstSequence: number;
}

export interface Appended {
  readonly id: number;
  readonly values: readonly Buffer[];
  /** Undefined where the log says them itself, and nobody has read them yet. */
  readonly timestamps: (number | undefined)[];
  /** The log says them, anew for each try that is not of something that is there. */
  readonly isStamped: boolean;
  readonly sequenced: Sequenced | undefined;
  /** The offset of the first record, as soon as it is known. */
  base: number | undefined;
  fate: Fate;
  /** One of several tries may have come through. */
  unclear: boolean;
  /** It outlives a loss of power, whatever the policy. */
  durable: boolean;
  keptAt: Moment;
  /** How often the log took back what it may have had of it. */
  timesCut: number;
}

export interface Moment {
  readonly ms: number;
  readonly turn: number;
}

/** With `interval` the loss is bounded by time; what a sync takes comes on top of it, and is a matter of turns, not of time. */
const syncTurnsMax = 400;

/** What a record takes beside its value, if it is alone in its batch. */
const recordBytesMax = 100;

const valuePattern = /^(\d+)\.(\d+) /;

/** One record's value: which append, which record in it, and as many bytes as asked for. */
export function valueOf(id: number, index: number, bytes: number): Buffer {
  const mark = `${id}.${index} `;
  return Buffer.alloc(Math.max(mark.length, bytes), mark);
}

export type Ending = "clean" | "kill" | "power";

/** How the last process that came to a start ended. */
export interface Ended {
  /** Since the last start that came to its end; or what was not synced was cut, which is as good. */
  readonly powerLost: boolean;
  readonly at: Moment;
  /** The log said that it cut something off, and why. */
  saidCut(): boolean;
}

/** Something acknowledged is not there any more: did its policy allow that? */
export function checkLoss({ durable, keptAt }: Pick<Appended, "durable" | "keptAt">, name: string, sync: SyncPolicy, ended: Ended): void {
  if (ended.saidCut()) return;
  demand(ended.powerLost, () => `${name} is lost without a loss of power`);
  demand(!durable, () => `${name} is lost, and was surely on the disk`);
  if (sync.kind === "never") return;
  const { ms, turn } = ended.at;
  const overdue = sync.kind === "interval" && ms - keptAt.ms > sync.ms && turn - keptAt.turn > syncTurnsMax;
  demand(sync.kind === "interval" && !overdue, () => `${name} is lost, although ${sync.kind} promised more`);
}

export class PartitionModel {
  readonly appends = new Map<number, Appended>();
  /** By the offset of each record. */
  private readonly at = new Map<number, Appended>();
  startOffset = 0;
  /** Somebody asked for it and does not know whether it came to it. */
  askedStart = 0;

  constructor(
    readonly where: string,
    readonly sync: SyncPolicy,
  ) {}

  sent(append: Appended): void {
    this.appends.set(append.id, append);
    if (append.base !== undefined) this.place(append, append.base);
  }

  /** What a try was answered that was sent after so many cuts: all of it, or nothing where it may have been taken back since. */
  answered(append: Appended, base: number | undefined, now: Moment, timesCut: number): void {
    const takenBack = this.takenBackSince(append, timesCut);
    if (base !== undefined && !takenBack) this.place(append, base);
    this.kept(append, now, timesCut);
  }

  kept(append: Appended, now: Moment, timesCut = append.timesCut): void {
    if (append.fate === "kept") return;
    demand(append.fate !== "gone", () => `${this.name(append)} was acknowledged after a start had shown that it is not there`);
    append.keptAt = now;
    const takenBack = this.takenBackSince(append, timesCut);
    append.fate = takenBack ? "unknown" : "kept";
    append.unclear ||= takenBack;
    if (this.sync.kind === "always") append.durable = true;
  }

  /** A try of it failed. What a refused one says is of that try only: those before it may have come through. */
  failed(append: Appended, fate: "refused" | "unknown"): void {
    if (append.fate === "kept" || append.fate === "gone") return;
    append.unclear ||= fate === "unknown";
    append.fate = append.unclear ? "unknown" : "refused";
  }

  /** Comes before a further try, while one is without an answer too. */
  sentAgain(append: Appended): void {
    append.unclear ||= append.fate === "unknown" || append.fate === "open";
  }

  /** Told where it is, by the log or by what was read. */
  place(append: Appended, base: number): void {
    demand(append.base === undefined || append.base === base, () => `${this.name(append)} is at offset ${base} and was at ${append.base}`);
    append.base = base;
    for (let i = 0; i < append.values.length; i++) {
      const other = this.at.get(base + i);
      demand(
        other === undefined || other === append,
        () => `offset ${base + i} belongs to ${this.name(append)} and to ${this.name(other as Appended)}`,
      );
      this.at.set(base + i, append);
    }
  }

  /** The log takes back what lies from `offset` on; what was promised may not be among it. */
  cut(offset: number): void {
    for (const append of new Set(this.at.values())) {
      const base = append.base as number;
      if (base + append.values.length <= offset) continue;
      demand(base >= offset, () => `${this.name(append)} is cut in the middle, at offset ${offset}`);
      demand(!append.durable, () => `${this.name(append)}, surely on the disk, is cut off at offset ${offset}`);
      for (let i = 0; i < append.values.length; i++) this.at.delete(base + i);
      append.base = undefined;
      if (append.isStamped) append.timestamps.fill(undefined);
      append.timesCut++;
      if (append.fate === "kept" || append.fate === "open") append.fate = "unknown";
    }
    // nobody has read yet where they are: maybe below, and there, whatever a further try is told
    for (const append of this.appends.values()) {
      if (append.base !== undefined || append.durable) continue;
      if (append.fate === "kept") Object.assign(append, { fate: "unknown", unclear: true });
      append.timesCut++;
    }
  }

  /** Checks what a running log let somebody read; it counts as kept from then on. */
  read(found: readonly StoredRecord[], now: Moment): void {
    for (const record of found) {
      const append = this.recognised(record);
      demand(append.fate !== "refused" && append.fate !== "gone", () => `${this.name(append)}, which is ${append.fate}, was read`);
      this.place(append, record.offset - indexOf(record));
      this.kept(append, now);
    }
    for (let i = 1; i < found.length; i++) {
      const [before, after] = [found[i - 1] as StoredRecord, found[i] as StoredRecord];
      demand(after.offset === before.offset + 1, () => `${this.where}: offset ${after.offset} follows ${before.offset}`);
    }
  }

  /**
   * Checks all that a started log holds against all that was promised, and goes on from what is there.
   */
  started(found: readonly StoredRecord[], startOffset: number, end: number, ended: Ended): void {
    demand(startOffset >= this.startOffset, () => `${this.where} begins at ${startOffset}; ${this.startOffset} was deleted up to`);
    demand((found[0]?.offset ?? end) === startOffset, () => `${this.where} begins with ${found[0]?.offset} and not with ${startOffset}`);
    demand((found.at(-1)?.offset ?? end - 1) === end - 1, () => `${this.where} ends with ${found.at(-1)?.offset} below ${end}`);
    const there = new Set<Appended>();
    const lost = new Set([...this.appends.values()].filter(({ base, values }) => base === undefined || base + values.length > startOffset));
    this.at.clear();
    for (const append of this.appends.values()) if (append.fate === "unknown") append.base = undefined;
    for (const [i, record] of found.entries()) {
      demand(record.offset === startOffset + i, () => `${this.where}: there is a hole at offset ${startOffset + i}`);
      const append = this.recognised(record);
      demand(append.fate !== "refused", () => `${this.name(append)} was refused and is there`);
      demand(append.fate !== "gone", () => `${this.name(append)} was not there once and is back`);
      this.place(append, record.offset - indexOf(record));
      there.add(append);
      lost.delete(append);
    }
    for (const append of there) {
      const base = append.base as number;
      demand(
        base + append.values.length <= end,
        () => `${this.name(append)} is there with ${end - base} of ${append.values.length} records`,
      );
    }
    for (const append of lost) if (append.fate === "kept") checkLoss(append, this.name(append), this.sync, ended);
    this.appends.clear();
    for (const append of lost)
      this.appends.set(append.id, Object.assign(append, { fate: append.fate === "refused" ? "refused" : "gone", base: undefined }));
    for (const append of there) this.appends.set(append.id, Object.assign(append, { fate: "kept", durable: true }));
    this.startOffset = this.askedStart = startOffset;
  }

  /** Checks that what is read is right, and returns the offsets at which something kept is missing. */
  checkServed(found: readonly StoredRecord[], startOffset: number): number[] {
    const missing = new Set([...this.at.keys()].filter((offset) => offset >= startOffset && this.at.get(offset)?.fate === "kept"));
    for (const record of found) {
      const append = this.recognised(record);
      const base = record.offset - indexOf(record);
      demand(append.base === undefined || append.base === base, () => `${this.name(append)} is read at offset ${base}`);
      missing.delete(record.offset);
    }
    return [...missing];
  }

  /** Everything that is kept now is on the disk. */
  synced(appends: Iterable<Appended> = this.appends.values()): void {
    for (const append of appends) if (append.fate === "kept") append.durable = true;
  }

  stopped(): void {
    this.synced();
  }

  /** The first offset from which on nothing was ever read or said to be deleted. */
  holder(offset: number): Appended | undefined {
    return this.at.get(offset);
  }

  /** The kept appends of one producer's epoch, in order. */
  ofProducer(producer: string): Appended[] {
    const found = [...this.appends.values()].filter(({ sequenced, fate }) => sequenced?.producer === producer && fate === "kept");
    return found.sort((a, b) => (a.base ?? Number.POSITIVE_INFINITY) - (b.base ?? Number.POSITIVE_INFINITY));
  }

  /** Forgets what lies below the start: nobody can ask for it any more. */
  startMoved(startOffset: number): void {
    demand(startOffset >= this.startOffset, () => `the start of ${this.where} went back from ${this.startOffset} to ${startOffset}`);
    this.startOffset = startOffset;
    for (const append of this.appends.values()) {
      if (append.base === undefined || append.base + append.values.length > startOffset) continue;
      for (let i = 0; i < append.values.length; i++) this.at.delete(append.base + i);
      this.appends.delete(append.id);
    }
  }

  /** More than what is kept from there on takes on the disk. */
  bytesMaxFrom(startOffset: number): number {
    let bytes = 0;
    for (const { base, fate, values } of this.appends.values()) {
      if (fate === "refused" || fate === "gone" || (base !== undefined && base + values.length <= startOffset)) continue;
      for (const { length } of values) bytes += length + recordBytesMax;
    }
    return bytes;
  }

  /** Checks the answer to a search by time, as far as it is known what lies where. */
  foundTimestamp(
    timestamp: number,
    found: { readonly offset: number; readonly timestamp: number } | undefined,
    start: number,
    end: number,
  ): void {
    for (let offset = start; offset < (found?.offset ?? end); offset++) {
      const known = this.timestampAt(offset);
      demand(
        known === undefined || known < timestamp,
        () => `${this.where}: offset ${offset} has ${known}; for ${timestamp} ${found?.offset} was found`,
      );
    }
    const known = found && this.timestampAt(found.offset);
    demand(
      known === undefined || (known >= timestamp && known === found?.timestamp),
      () => `${this.where}: for ${timestamp} offset ${found?.offset} was found, of ${known}`,
    );
  }

  /** Of something that is there, if it is known. */
  someTimestamp(random: Random): number {
    const offsets = [...this.at.keys()];
    return offsets.length === 0 ? 0 : (this.timestampAt(random.pick(offsets)) ?? 0);
  }

  /**
   * Written, taken back, and confirmed only then, as its publisher waited for another topic, say: nobody knows whether it is there. What is
   * sent afterwards is a try of its own.
   */
  private takenBackSince(append: Appended, timesCut: number): boolean {
    return this.sync.kind !== "always" && timesCut !== append.timesCut;
  }

  private timestampAt(offset: number): number | undefined {
    const append = this.at.get(offset);
    return append?.timestamps[offset - (append.base as number)];
  }

  private recognised(record: StoredRecord): Appended {
    const { value } = record;
    const match = valuePattern.exec(value === null ? "" : Buffer.from(value.subarray(0, 24)).toString("latin1"));
    const append = match === null ? undefined : this.appends.get(Number(match[1]));
    const index = Number(match?.[2]);
    demand(
      append !== undefined && index < append.values.length,
      () => `${this.where} holds at offset ${record.offset} what nobody appended: ${match?.[0]}`,
    );
    demand(
      (append.values[index] as Buffer).equals(value as Uint8Array),
      () => `${this.name(append)} has other bytes at offset ${record.offset}`,
    );
    const timestamp = append.timestamps[index];
    demand(
      timestamp === undefined || timestamp === record.timestamp,
      () => `${this.name(append)} has timestamp ${record.timestamp} and not ${timestamp}`,
    );
    append.timestamps[index] = record.timestamp;
    return append;
  }

  private name({ id, base, values, fate }: Appended): string {
    return `append ${id} of ${values.length} records (${fate}, offset ${base}) in ${this.where}`;
  }
}

function indexOf({ value }: StoredRecord): number {
  return Number(valuePattern.exec(Buffer.from((value as Uint8Array).subarray(0, 24)).toString("latin1"))?.[2]);
}
