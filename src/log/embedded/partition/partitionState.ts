/**
 * What is durably known of a partition beside its files, in the keyed store of the catalog: `partition:<folder>` holds
 *
 *   { version: 2, start, next, base, bytes, open, clean, cleaned, replacing }
 *
 * `start`: the first offset that is kept. Everything below offset `next` is synced, and ends at byte `bytes` of segment `base`. `open`: the
 * first offset of the oldest transaction that is open there, or -1 (version 1 knew no transactions). `clean`: nothing was written after it,
 * and indexes and snapshot are whole; so a start after a clean end opens no file, and one after a kill reads only what lies behind `next`.
 * An entry is clean only while nobody may write: it is marked before the first write, durably. Without an entry everything is found in the
 * files (a first release made none). `cleaned`: compaction went over everything below this offset. `replacing`: null, or [base, end] of the
 * segments that are being replaced (segmentReplacement.ts). Version 1 has neither.
 */
import { MillraceError } from "../../../base/errors.ts";
import type { Json, KeyedStore } from "../../contract/keyedStore.ts";
import type { Replacement } from "../compaction/segmentReplacement.ts";

const KEY_PREFIX = "partition:";
const STATE_VERSION = 2;

/** A place between two batches: below `offset` is everything before `bytes` in segment `baseOffset`. */
export interface LogPosition {
  readonly offset: number;
  readonly baseOffset: number;
  readonly bytes: number;
}

export const segmentBegin = (baseOffset: number): LogPosition => ({ offset: baseOffset, baseOffset, bytes: 0 });

/** Up to where a partition may be read, and from where on transactions are open there. */
export interface ReadableEnd extends LogPosition {
  readonly openFrom: number | undefined;
}

export interface PartitionState {
  readonly startOffset: number;
  readonly synced: LogPosition;
  /** As of `synced`, if `clean`; else it is found in the batches. */
  readonly openFrom: number | undefined;
  readonly clean: boolean;
  readonly cleanedTo: number;
  readonly replacing: Replacement | undefined;
}

export const emptyState: PartitionState = {
  startOffset: 0,
  synced: segmentBegin(0),
  openFrom: undefined,
  clean: true,
  cleanedTo: 0,
  replacing: undefined,
};

/** The partitions' states of one log directory, by the name of the partition's folder. */
export class PartitionStates {
  constructor(private readonly store: KeyedStore) {}

  get(folder: string): PartitionState | undefined {
    const value = this.store.entries.get(KEY_PREFIX + folder);
    return value === undefined ? undefined : decode(value, KEY_PREFIX + folder);
  }

  put(folder: string, state: PartitionState): Promise<void> {
    return this.putAll(new Map([[folder, state]]));
  }

  putAll(states: ReadonlyMap<string, PartitionState>): Promise<void> {
    return this.store.change(partitionEntries(states));
  }
}

/** As entries of the keyed store; null removes one. */
export function partitionEntries(states: ReadonlyMap<string, PartitionState | null>): Map<string, Json | null> {
  return new Map([...states].map(([folder, state]) => [KEY_PREFIX + folder, state === null ? null : encode(state)]));
}

/**
 * When the catalog's end had to be cut: a damaged entry may have said that a partition is written to again, so none is known to be clean. It
 * costs the next start a look into each.
 */
export function allInUse(catalog: ReadonlyMap<string, Json>): Map<string, Json> {
  const inUse = new Map<string, Json>();
  for (const [key, value] of catalog) {
    if (key.startsWith(KEY_PREFIX) && (value as StoredState).clean) inUse.set(key, { ...(value as StoredState), clean: false });
  }
  return inUse;
}

function encode({ startOffset, synced, openFrom = -1, clean, cleanedTo, replacing }: PartitionState): Json {
  return {
    version: STATE_VERSION,
    start: startOffset,
    next: synced.offset,
    base: synced.baseOffset,
    bytes: synced.bytes,
    open: openFrom,
    clean,
    cleaned: cleanedTo,
    replacing: replacing === undefined ? null : [replacing.base, replacing.end],
  };
}

type StoredState = {
  readonly version: number;
  readonly start: number;
  readonly next: number;
  readonly base: number;
  readonly bytes: number;
  readonly open?: number;
  readonly clean: boolean;
  readonly cleaned?: number;
  readonly replacing?: readonly [base: number, end: number] | null;
};

function decode(value: Json, key: string): PartitionState {
  const { version, start, next, base, bytes, open, clean, cleaned, replacing } = value as StoredState;
  if (version > STATE_VERSION) {
    throw new MillraceError(
      "FORMAT_TOO_NEW",
      `The catalog's entry "${key}" has version ${version}; this release reads up to ${STATE_VERSION}.`,
      {
        domain: "user",
        where: key,
        hint: "Start the release that wrote it, or a later one.",
      },
    );
  }
  return {
    startOffset: start,
    synced: { offset: next, baseOffset: base, bytes },
    openFrom: open !== undefined && open >= 0 ? open : undefined,
    clean,
    cleanedTo: cleaned ?? 0,
    replacing: replacing ? { base: replacing[0], end: replacing[1] } : undefined,
  };
}
