import path from "node:path";
import { toMillraceError } from "../base/errors.ts";
import { silentLogger } from "../base/logger.ts";
import { nodeFileSystem } from "../base/nodeFileSystem.ts";
import { lockDirectory } from "../log/directoryLock.ts";
import { catalogVersion } from "../log/embedded/catalog.ts";
import { openKeyedStore } from "../log/keyedStore.ts";
import { dumpLog } from "../log/tools/dumpLog.ts";
import { repairLog } from "../log/tools/repairLog.ts";
import { type LogProblem, partitionFolders, verifyLog } from "../log/tools/verifyLog.ts";
import { type DataDirectory, layoutOf } from "../server/dataDirectory.ts";
import { ExitCode } from "./exitCodes.ts";
import { noTopics } from "./noTopics.ts";
import { printData, say } from "./terminal.ts";

const isFolder = async (name: string): Promise<boolean> => (await nodeFileSystem.stat(name))?.isDirectory === true;

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
    await dumpLog(nodeFileSystem, await topicsOf(directory), withRecords, printData);
    return ExitCode.done;
  });

export const logVerify = (directory: string): Promise<number> =>
  reading(directory, async () => {
    const bar = progressBar();
    const { problems, partitions, segments, batches, bytes } = await verifyLog(nodeFileSystem, await topicsOf(directory), bar.show);
    bar.end();
    for (const problem of problems) printData(lineOf(problem));
    printData(`${partitions} partitions, ${segments} segments, ${batches} batches, ${bytes} bytes: ${problems.length} problems`);
    if (problems.length === 0) return ExitCode.done;
    say("Stop the node and run 'millrace log repair': it cuts a torn tail and makes indexes again.");
    return ExitCode.failed;
  });

/** Only of a node's data directory, and only while no node uses it. */
export const logRepair = (directory: string, cutDamage: boolean): Promise<number> =>
  reading(directory, async () => {
    const data = await dataDirectoryOf(directory);
    const lock = await lockDirectory({ fileSystem: nodeFileSystem, directory: data.root });
    return repair(data, cutDamage).finally(() => lock.release());
  });

async function repair(data: DataDirectory, cutDamage: boolean): Promise<number> {
  const catalog = await openKeyedStore({
    fileSystem: nodeFileSystem,
    logger: silentLogger,
    path: data.catalog,
    name: "catalog",
    formatVersion: catalogVersion,
  });
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
  if (done.length + left.length === 0) printData("nothing to repair");
  if (left.length === 0) return ExitCode.done;
  if (left.some(({ kind }) => kind === "batch")) {
    say("Bring the partition's folder back from a backup, or repair with --cut-damage: the partition then ends before the bad batch.");
  }
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
