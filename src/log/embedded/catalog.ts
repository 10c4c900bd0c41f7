/**
 * Which topics there are, in the keyed store: `topic:<name>` holds
 *
 *   { version: 3, folder, deleting, partitions, segmentBytes, segmentMs, maxMessageBytes, retentionMs, retentionBytes, timestampType,
 *     cleanupPolicy, deleteRetentionMs, minCompactionLagMs, minCleanableDirtyRatio, sync: "always" | "never" | "interval", syncIntervalMs }
 *
 * `folder` is what the partitions' folders begin with. `deleting`: its folders go, at the next start if not before. Version 1 had only
 * partitions, segmentBytes, maxMessageBytes and sync, and kept everything for ever; it is read so. Version 2 knew no compaction.
 */
import { MillraceError } from "../../base/errors.ts";
import type { Json, KeyedStore } from "../contract/keyedStore.ts";
import { type SyncPolicy, type TopicConfig, topicConfigDefaults, UNLIMITED } from "../contract/partitionedLog.ts";
import { type PartitionState, partitionEntries } from "./partition/partitionState.ts";

/** Of the keyed store that it is in. */
export const catalogVersion = 1;
const KEY_PREFIX = "topic:";
const ENTRY_VERSION = 3;

export interface CatalogEntry {
  readonly folder: string;
  readonly config: TopicConfig;
  readonly deleting: boolean;
}

type StoredEntry = Partial<Omit<TopicConfig, "sync">> & {
  readonly version: number;
  readonly folder: string;
  readonly sync: SyncPolicy["kind"];
  readonly syncIntervalMs: number;
  readonly deleting: boolean;
};

export class Catalog {
  /** Small letters: some file systems know no others. Made when it is asked for: of 10,000 entries in 40 ms. */
  private folders: Set<string> | undefined;

  constructor(private readonly store: KeyedStore) {}

  get(name: string): CatalogEntry | undefined {
    const value = this.store.entries.get(KEY_PREFIX + name);
    return value === undefined ? undefined : decode(value, KEY_PREFIX + name);
  }

  /** What folders of topics begin with, or may: also those of changes that failed. */
  get foldersTaken(): ReadonlySet<string> {
    this.folders ??= new Set(Array.from(this.entries(), ([, { folder }]) => folder.toLowerCase()));
    return this.folders;
  }

  *entries(): Generator<[name: string, entry: CatalogEntry]> {
    for (const [key, value] of this.store.entries) {
      if (key.startsWith(KEY_PREFIX)) yield [key.slice(KEY_PREFIX.length), decode(value, key)];
    }
  }

  /** Rejects if no change is taken now. What was in doubt is decided when it resolves. */
  takesChanges(): Promise<void> {
    return this.store.change(new Map());
  }

  /** With the states of its partitions' folders where they change too (null: no more). */
  put(name: string, entry: CatalogEntry, states: ReadonlyMap<string, PartitionState | null> = new Map()): Promise<void> {
    this.folders?.add(entry.folder.toLowerCase());
    return this.store.change(new Map([[KEY_PREFIX + name, encode(entry)], ...partitionEntries(states)]));
  }

  async remove(name: string, states: ReadonlyMap<string, PartitionState | null>): Promise<void> {
    const entry = this.get(name);
    await this.store.change(new Map<string, Json | null>([[KEY_PREFIX + name, null], ...partitionEntries(states)]));
    if (entry !== undefined) this.folders?.delete(entry.folder.toLowerCase());
  }
}

function encode({ folder, config, deleting }: CatalogEntry): Json {
  const { sync, ...numbers } = config;
  const entry: StoredEntry = {
    version: ENTRY_VERSION,
    folder,
    deleting,
    ...numbers,
    sync: sync.kind,
    syncIntervalMs: sync.kind === "interval" ? sync.ms : 0,
  };
  return entry as Json;
}

function decode(value: Json, key: string): CatalogEntry {
  const { version, folder, deleting, syncIntervalMs, ...entry } = value as StoredEntry;
  if (version > ENTRY_VERSION) {
    throw new MillraceError(
      "FORMAT_TOO_NEW",
      `The catalog's entry "${key}" has version ${version}; this release reads up to ${ENTRY_VERSION}.`,
      { domain: "user", where: key, hint: "Start the release that wrote it, or a later one." },
    );
  }
  const sync: SyncPolicy = entry.sync === "interval" ? { kind: "interval", ms: syncIntervalMs } : { kind: entry.sync };
  const before = version === 1 ? { retentionMs: UNLIMITED, segmentMs: Number.MAX_SAFE_INTEGER } : {};
  return { folder, deleting, config: { ...topicConfigDefaults, ...before, ...entry, sync } };
}
