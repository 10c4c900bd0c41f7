/**
 * Which topics there are, in the keyed store: `topic:<name>` holds
 *
 *   { version: 1, folder, partitions, segmentBytes, maxMessageBytes, sync: "always" | "never" | "interval", syncIntervalMs, deleting }
 *
 * `folder` is what the partitions' folders begin with. `deleting`: its folders go, at the next start if not before.
 */
import { MillraceError } from "../../base/errors.ts";
import type { Json, KeyedStore } from "../contract/keyedStore.ts";
import type { SyncPolicy, TopicConfig } from "../contract/partitionedLog.ts";

const KEY_PREFIX = "topic:";
const ENTRY_VERSION = 1;

export interface CatalogEntry {
  readonly folder: string;
  readonly config: TopicConfig;
  readonly deleting: boolean;
}

type StoredEntry = {
  readonly version: number;
  readonly folder: string;
  readonly partitions: number;
  readonly segmentBytes: number;
  readonly maxMessageBytes: number;
  readonly sync: SyncPolicy["kind"];
  readonly syncIntervalMs: number;
  readonly deleting: boolean;
};

export class Catalog {
  constructor(private readonly store: KeyedStore) {}

  *entries(): Generator<[name: string, entry: CatalogEntry]> {
    for (const [key, value] of this.store.entries) {
      if (key.startsWith(KEY_PREFIX)) yield [key.slice(KEY_PREFIX.length), decode(value, key)];
    }
  }

  put(name: string, entry: CatalogEntry): Promise<void> {
    return this.store.change(new Map([[KEY_PREFIX + name, encode(entry)]]));
  }

  remove(name: string): Promise<void> {
    return this.store.change(new Map([[KEY_PREFIX + name, null]]));
  }
}

function encode({ folder, config, deleting }: CatalogEntry): StoredEntry {
  const { partitions, segmentBytes, maxMessageBytes, sync } = config;
  const syncIntervalMs = sync.kind === "interval" ? sync.ms : 0;
  return { version: ENTRY_VERSION, folder, partitions, segmentBytes, maxMessageBytes, sync: sync.kind, syncIntervalMs, deleting };
}

function decode(value: Json, key: string): CatalogEntry {
  const entry = value as StoredEntry;
  if (entry.version > ENTRY_VERSION) {
    throw new MillraceError("FORMAT_TOO_NEW", `The catalog's entry "${key}" has version ${entry.version}; this release reads up to 1.`, {
      domain: "user",
      where: key,
      hint: "Start the release that wrote it, or a later one.",
    });
  }
  const { folder, partitions, segmentBytes, maxMessageBytes, deleting } = entry;
  const sync: SyncPolicy = entry.sync === "interval" ? { kind: "interval", ms: entry.syncIntervalMs } : { kind: entry.sync };
  return { folder, deleting, config: { partitions, segmentBytes, maxMessageBytes, sync } };
}
