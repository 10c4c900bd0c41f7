import type { FileSystem } from "../../../base/fileSystem.ts";

const OPEN_MAX = 1000;
/**
 * A partition writes three, or four with aborted transactions, has one of them open twice to write it synced, and beside them one that it
 * needs for a moment; a reader has three at most.
 */
const FILES_EACH_MAX = 6;
/** The other files that the process may have open are for sockets, queues and connectors. */
const PART_OF_LIMIT = 1 / 2;

const softLimit = /^Max open files +(\d+)/m;

/** How many partitions and readers may have files open at the same time when nobody says it: what the operating system lets the process have. */
export async function openMaxByDefault(fileSystem: FileSystem): Promise<number> {
  // only Linux tells without a program that is run for it
  const limits = await fileSystem.readFile("/proc/self/limits").catch(() => Buffer.alloc(0));
  const limit = Number(softLimit.exec(limits.toString("latin1"))?.[1] ?? Number.POSITIVE_INFINITY);
  return Math.max(1, Math.min(OPEN_MAX, Math.floor((limit * PART_OF_LIMIT) / FILES_EACH_MAX)));
}
