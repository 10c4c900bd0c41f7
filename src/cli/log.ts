import path from "node:path";
import { systemClock } from "../base/clock.ts";
import { toMillraceError } from "../base/errors.ts";
import { type Logger, silentLogger } from "../base/logger.ts";
import { nodeFileSystem } from "../base/nodeFileSystem.ts";
import { topologyVersion } from "../broker/topology.ts";
import { lockDirectory, readLock } from "../log/directoryLock.ts";
import { catalogVersion } from "../log/embedded/catalog.ts";
import { allInUse } from "../log/embedded/partition/partitionState.ts";
import { openKeyedStore } from "../log/keyedStore.ts";
import { dumpLog } from "../log/tools/dumpLog.ts";
import { type LogProblem, weightOf } from "../log/tools/logProblem.ts";
import { repairLog } from "../log/tools/repairLog.ts";
import { verifyData } from "../log/tools/verifyData.ts";
import { type VerifiedJournal, verifyJournal } from "../log/tools/verifyJournal.ts";
import { partitionFolders, type Verified, verifyLog } from "../log/tools/verifyLog.ts";
import type { RecordHeader } from "../record/record.ts";
import { type DataDirectory, layoutOf } from "../server/dataDirectory.ts";
import { readVersion } from "../server/dataVersion.ts";
import { ExitCode } from "./exitCodes.ts";
import { noTopics } from "./noTopics.ts";
import { shownHeaders } from "./shownHeaders.ts";
import { printData, say } from "./terminal.ts";
import { verifyCheckpoints } from "./verifyCheckpoints.ts";

const isFolder = async (name: string): Promise<boolean> => (await nodeFileSystem.stat(name))?.isDirectory === true;

/** Of the data directory that it is, or lies in: what a newer release wrote is not ours to read. Throws DATA_TOO_NEW. */
async function checkVersion(directory: string): Promise<void> {
  const folder = path.resolve(directory);
  const parent = path.dirname(folder);
  const { topics, journal } = layoutOf(parent);
  const roots = folder === topics || folder === journal ? [folder, parent] : [folder];
  const above = path.dirname(parent);
  if (layoutOf(above).topics === parent) roots.push(above);
  for (const root of roots) await readVersion(nodeFileSystem, root);
}

/** A data directory's topics; any other directory must hold partitions, or be one. */
async function topicsOf(directory: string): Promise<string> {
  const { root, topics } = layoutOf(path.resolve(directory));
  if (await isFolder(topics)) return topics;
  if (!(await isFolder(root)) || (await partitionFolders(nodeFileSystem, root)).length === 0) throw noTopics(root, directoryHint);
  return root;
}

/** To repair takes the whole of a data directory: its lock and its catalog. */
async function dataDirectoryOf(directory: string): Promise<DataDirectory> {
  const data = layoutOf(path.resolve(directory));
  if (!(await isFolder(data.topics))) throw noTopics(data.root, "Name a node's data directory.");
  return data;
}

const directoryHint = "Name a node's data directory, or the folder of one partition.";

/** What the file system says gets a code, and the directory; what has one stays as it is. */
async function reading(directory: string, task: () => Promise<number>): Promise<number> {
  try {
    await checkVersion(directory);
    return await task();
  } catch (error) {
    throw toMillraceError(error, "DATA_UNREADABLE", "the directory cannot be read", {
      domain: "external",
      where: path.resolve(directory),
      hint: `${directoryHint} Only the user that runs the node may read it.`,
    });
  }
}

export const logDump = (directory: string, withRecords: boolean): Promise<number> =>
  reading(directory, async () => {
    await dumpLog(nodeFileSystem, await topicsOf(directory), withRecords ? headersText : undefined, printData);
    return ExitCode.done;
  });

/** One line, in which JSON keeps control characters from the terminal. */
function headersText(headers: readonly RecordHeader[]): string {
  const { amqp, headers: others } = shownHeaders(headers);
  const parts = [
    ...Object.entries(amqp ?? {}).map(([name, value]) => `${name} ${JSON.stringify(value)}`),
    ...others.map(({ key, value }) => `header ${JSON.stringify(key)} ${JSON.stringify(value)}`),
  ];
  return parts.join(", ");
}

export const logVerify = (directory: string): Promise<number> =>
  reading(directory, async () => {
    const bar = progressBar();
    const { problems, summary, live } = await verify(directory, bar.show).finally(bar.end);
    const count = (weight: ReturnType<typeof weightOf>): number => problems.filter((one) => weightOf(one) === weight).length;
    const [damage, torn, harmless] = [count("damage"), count("torn"), count("harmless")];
    for (const problem of problems) printData(lineOf(problem));
    for (const line of summary) printData(line);
    const none = torn === 0 ? "no damage" : "no damage that is certain";
    const ends = torn === 0 ? "" : `; ${torn} torn, or damaged if it was confirmed: a start cuts it`;
    const others = harmless === 0 ? "" : `; ${harmless} that a start deals with by itself, without loss`;
    printData(`${damage === 0 ? none : `${damage} damaged`}${ends}${others}`);
    if (damage === 0) return ExitCode.done;
    say(
      live
        ? "A node is running on it. Stop it before you repair or bring back files."
        : "'millrace log repair' makes the indexes of topics again and cuts damaged ends; of the catalog and the topology it makes a damaged file anew from the other one; the queues' journal it leaves alone. docs/durability.md says what each means.",
    );
    return ExitCode.failed;
  });

interface Findings {
  readonly problems: readonly LogProblem[];
  readonly summary: readonly string[];
  readonly live: boolean;
}

/** Of a data directory everything; of the folder of topics, a partition, or the journal just that. */
async function verify(directory: string, progress: (bytes: number, total: number) => void): Promise<Findings> {
  const data = layoutOf(path.resolve(directory));
  const fileSystem = nodeFileSystem;
  if (await isFolder(data.topics)) return verifyDataDirectory(data, progress);
  if (await isJournal(data.root)) {
    const journal = await verifyJournal(fileSystem, data.root, progress);
    return { problems: journal.problems, summary: [journalLine(journal)], live: false };
  }
  const topics = await verifyLog(fileSystem, await topicsOf(directory), progress);
  return { problems: topics.problems, summary: [topicsLine(topics)], live: false };
}

async function verifyDataDirectory(data: DataDirectory, progress: (bytes: number, total: number) => void): Promise<Findings> {
  const fileSystem = nodeFileSystem;
  const live = (await readLock({ fileSystem, directory: data.root })) !== undefined;
  const found = await verifyData({ ...data, fileSystem, topologyVersion, live, progress });
  const checkpoints = await verifyCheckpoints(fileSystem, data.checkpoints);
  const count = (entries: number | undefined): string => (entries === undefined ? "not readable" : `${entries} entries`);
  return {
    problems: [...found.problems, ...checkpoints.problems],
    summary: [
      topicsLine(found.topics),
      journalLine(found.journal),
      `catalog: ${count(found.catalog)}; topology: ${count(found.topology)}; checkpoints: ${checkpoints.count}`,
    ],
    live,
  };
}

const isJournal = async (folder: string): Promise<boolean> =>
  (await isFolder(folder)) && (await nodeFileSystem.list(folder)).some((name) => /^\d+\.journal$/.test(name));

const topicsLine = ({ partitions, segments, batches, bytes }: Verified): string =>
  `topics: ${partitions} partitions, ${segments} segments, ${batches} batches, ${bytes} bytes`;

const journalLine = ({ files, segments, entries, bytes }: VerifiedJournal): string =>
  `journal: ${files} files, ${segments} segments, ${entries} entries, ${bytes} bytes`;

/** Only of a node's data directory, and only while no node uses it. */
export const logRepair = (directory: string, cutDamage: boolean): Promise<number> =>
  reading(directory, async () => {
    const data = await dataDirectoryOf(directory);
    const lock = await lockDirectory({ fileSystem: nodeFileSystem, directory: data.root });
    return repair(data, cutDamage).finally(() => lock.release());
  });

async function repair(data: DataDirectory, cutDamage: boolean): Promise<number> {
  let mended = 0;
  const store = (file: string, name: string, formatVersion: number) => {
    const print: Logger["warn"] = (text, fields) => {
      mended++;
      printData(`${String(fields?.file ?? file)}: ${text}`);
    };
    const logger = { ...silentLogger, warn: print, error: print };
    return { fileSystem: nodeFileSystem, clock: systemClock, logger, path: file, name, formatVersion };
  };
  const catalog = await openKeyedStore({ ...store(data.catalog, "catalog", catalogVersion), whenCut: allInUse });
  const bar = progressBar();
  const { done, left } = await repairLog({
    fileSystem: nodeFileSystem,
    directory: data.topics,
    catalog,
    progress: bar.show,
    cutDamage,
  }).finally(() => catalog.close());
  bar.end();
  for (const line of done) printData(line);
  for (const problem of left) printData(`left alone: ${lineOf(problem)}`);
  await (await openKeyedStore(store(data.topology, "topology", topologyVersion))).close();
  if (done.length + left.length + mended === 0) printData("nothing to repair");
  if (left.length === 0) return ExitCode.done;
  const torn = left.some(({ kind }) => kind === "tail");
  if (torn) say("The next start cuts a 'tail' with all that is behind it: copy its partition's folder first if that matters.");
  if (torn || left.some(({ kind }) => kind === "batch"))
    say("Bring the partition's folder back from a backup, or repair with --cut-damage: the partition then ends before the bad batch.");
  return ExitCode.failed;
}

const lineOf = ({ kind, file, position, what }: LogProblem): string => `${kind}: ${file} at byte ${position}: ${what}`;

/** On a terminal only; elsewhere the result is enough. */
function progressBar(): { readonly show: (bytes: number, total: number) => void; readonly end: () => void } {
  if (!process.stderr.isTTY) return { show: () => undefined, end: () => undefined };
  const width = 30;
  return {
    show: (bytes, total) => {
      const part = total === 0 ? 1 : bytes / total;
      const filled = Math.round(part * width);
      process.stderr.write(`\r[${"#".repeat(filled)}${" ".repeat(width - filled)}] ${Math.floor(part * 100)} %`);
    },
    end: () => say(""),
  };
}
