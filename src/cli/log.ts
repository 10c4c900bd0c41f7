import path from "node:path";
import { silentLogger } from "../base/logger.ts";
import { nodeFileSystem } from "../base/nodeFileSystem.ts";
import { lockDirectory } from "../log/directoryLock.ts";
import { catalogVersion } from "../log/embedded/catalog.ts";
import { openKeyedStore } from "../log/keyedStore.ts";
import { dumpLog } from "../log/tools/dumpLog.ts";
import { repairLog } from "../log/tools/repairLog.ts";
import { type LogProblem, verifyLog } from "../log/tools/verifyLog.ts";
import { layoutOf } from "../server/dataDirectory.ts";
import { ExitCode } from "./exitCodes.ts";
import { printData, say } from "./terminal.ts";

/** A data directory's topics; any other directory is taken for topics, or one partition, itself. */
async function topicsOf(directory: string): Promise<string> {
  const { topics } = layoutOf(path.resolve(directory));
  return (await nodeFileSystem.stat(topics)) === undefined ? path.resolve(directory) : topics;
}

export async function logDump(directory: string, withRecords: boolean): Promise<number> {
  await dumpLog(nodeFileSystem, await topicsOf(directory), withRecords, printData);
  return ExitCode.done;
}

export async function logVerify(directory: string): Promise<number> {
  const bar = progressBar();
  const { problems, partitions, segments, batches, bytes } = await verifyLog(nodeFileSystem, await topicsOf(directory), bar.show);
  bar.end();
  for (const problem of problems) printData(lineOf(problem));
  printData(`${partitions} partitions, ${segments} segments, ${batches} batches, ${bytes} bytes: ${problems.length} problems`);
  return problems.length === 0 ? ExitCode.done : ExitCode.failed;
}

/** Only of a node's data directory, and only while no node uses it. */
export async function logRepair(directory: string): Promise<number> {
  const data = layoutOf(path.resolve(directory));
  const lock = await lockDirectory({ fileSystem: nodeFileSystem, directory: data.root });
  try {
    const catalog = await openKeyedStore({
      fileSystem: nodeFileSystem,
      logger: silentLogger,
      path: data.catalog,
      name: "catalog",
      formatVersion: catalogVersion,
    });
    const bar = progressBar();
    const { done, left } = await repairLog(nodeFileSystem, data.topics, catalog, bar.show).finally(() => catalog.close());
    bar.end();
    for (const line of done) printData(line);
    for (const problem of left) printData(`left alone: ${lineOf(problem)}`);
    if (done.length + left.length === 0) printData("nothing to repair");
    return left.length === 0 ? ExitCode.done : ExitCode.failed;
  } finally {
    await lock.release();
  }
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
