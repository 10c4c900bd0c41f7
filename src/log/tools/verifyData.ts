import path from "node:path";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { Json } from "../contract/keyedStore.ts";
import { Catalog, catalogVersion } from "../embedded/catalog.ts";
import { PartitionStates } from "../embedded/partition/partitionState.ts";
import { baseOffsetsOf, isDeletedFolder, partitionFolder } from "../embedded/segment/names.ts";
import { bytesIn } from "./bytesIn.ts";
import { type LogProblem, steadyProblems } from "./logProblem.ts";
import { type VerifiedJournal, verifyJournal } from "./verifyJournal.ts";
import { type KnownPartitions, type Verified, verifyLog } from "./verifyLog.ts";
import { readOnly, verifyStore } from "./verifyStore.ts";

export interface DataPlaces {
  readonly fileSystem: FileSystem;
  readonly topics: string;
  readonly journal: string;
  readonly catalog: string;
  readonly topology: string;
  readonly topologyVersion: number;
  /** A node is running on it. */
  readonly live: boolean;
  readonly progress: (bytes: number, bytesTotal: number) => void;
}

export interface VerifiedData {
  readonly topics: Verified;
  readonly journal: VerifiedJournal;
  /** Entries; undefined: damaged. */
  readonly catalog: number | undefined;
  readonly topology: number | undefined;
  readonly problems: readonly LogProblem[];
}

/** All that a node's log keeps: each CRC and index of topics, journal, catalog and topology. Changes nothing. */
export async function verifyData(places: DataPlaces): Promise<VerifiedData> {
  const { fileSystem, live, progress } = places;
  const store = (file: string, name: string, formatVersion: number) =>
    steadyProblems(live, () => verifyStore(fileSystem, { path: file, name, formatVersion }));
  const catalog = await store(places.catalog, "catalog", catalogVersion);
  const topology = await store(places.topology, "topology", places.topologyVersion);
  const known = catalog.entries === undefined ? undefined : knownPartitions(catalog.entries);
  const journalBytes = await bytesIn(fileSystem, places.journal);
  const topics = await verifyLog(fileSystem, places.topics, (bytes, total) => progress(bytes, total + journalBytes), {
    live,
    ...(known !== undefined && { known }),
  });
  const folders = await steadyProblems(live, () => verifyFolders(places));
  const journal = await steadyProblems(live, () =>
    journalOrNone(fileSystem, places.journal, (bytes, total) => progress(topics.bytes + bytes, topics.bytes + total)),
  );
  progress(1, 1);
  const problems = [catalog, topology, folders, topics, journal].flatMap((part) => part.problems);
  return { topics, journal, catalog: catalog.entries?.size, topology: topology.entries?.size, problems };
}

async function journalOrNone(...args: Parameters<typeof verifyJournal>): Promise<VerifiedJournal> {
  const [fileSystem, directory] = args;
  if ((await fileSystem.stat(directory)) !== undefined) return verifyJournal(...args);
  const problem: LogProblem = { kind: "missing", file: directory, position: 0, what: "the folder of the queues' journal is not there" };
  return { files: 0, segments: 0, entries: 0, bytes: 0, problems: [problem] };
}

/** Of topics that are being deleted the folders may be there or not. */
function knownPartitions(entries: ReadonlyMap<string, Json>): Map<string, ReturnType<PartitionStates["get"]>> {
  const store = readOnly(entries);
  const states = new PartitionStates(store);
  const known = new Map<string, ReturnType<PartitionStates["get"]>>();
  for (const [, { folder, config, deleting }] of new Catalog(store).entries()) {
    if (deleting) continue;
    for (let n = 0; n < config.partitions; n++) known.set(partitionFolder(folder, n), states.get(partitionFolder(folder, n)));
  }
  return known;
}

/** Are the folders there that the catalog names, and no others with data in them? */
async function verifyFolders({ fileSystem, topics, catalog }: DataPlaces): Promise<{ readonly problems: readonly LogProblem[] }> {
  const { entries } = await verifyStore(fileSystem, { path: catalog, name: "catalog", formatVersion: catalogVersion });
  const problems: LogProblem[] = [];
  const tell = (kind: "missing" | "stray", folder: string, what: string): void =>
    void problems.push({ kind, file: path.join(topics, folder), position: 0, what });
  const names = (await fileSystem.list(topics)).filter((name) => !isDeletedFolder(name)).toSorted();
  const known: KnownPartitions | undefined = entries === undefined ? undefined : knownPartitions(entries);
  const leaving = entries === undefined ? [] : [...new Catalog(readOnly(entries)).entries()].filter(([, { deleting }]) => deleting);
  const there = new Set(names);
  for (const folder of known?.keys() ?? []) if (!there.has(folder)) tell("missing", folder, "the partition's folder is not there");
  for (const name of names) {
    const folder = path.join(topics, name);
    if ((await fileSystem.stat(folder))?.isDirectory !== true) continue;
    const hasSegments = baseOffsetsOf(await fileSystem.list(folder)).length > 0;
    if (!hasSegments && (known?.has(name) ?? /-\d+$/.test(name))) tell("missing", name, "the partition has no segment file");
    const isLeaving = leaving.some(([, entry]) => name.startsWith(`${entry.folder}-`));
    const isStray = known !== undefined && !known.has(name) && !isLeaving && (await bytesIn(fileSystem, folder)) > 0;
    if (isStray) tell("stray", name, "a folder with data that no topic has; the node does not look at it");
  }
  return { problems };
}
