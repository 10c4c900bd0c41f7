import { MillraceError } from "../base/errors.ts";
import { nodeFileSystem } from "../base/nodeFileSystem.ts";
import { type LockHolder, readLock } from "../log/directoryLock.ts";

export interface RunningNode {
  readonly pid: number;
  readonly socket: string;
}

/** The node that holds the data directory; NODE_NOT_RUNNING if none does. */
export async function runningNode(data: string): Promise<RunningNode> {
  const holder = await holderOf(data);
  const socket = holder?.info.control;
  if (holder !== undefined && typeof socket === "string") return { pid: holder.pid, socket };
  throw new MillraceError(
    "NODE_NOT_RUNNING",
    holder === undefined ? "no node runs on this data directory" : `the node (process ${holder.pid}) is still starting`,
    { domain: "user", where: data, hint: "Name the node's data directory with --data, or its file with --config." },
  );
}

async function holderOf(data: string): Promise<LockHolder | undefined> {
  try {
    if ((await nodeFileSystem.stat(data)) === undefined) return undefined;
    return await readLock({ fileSystem: nodeFileSystem, directory: data });
  } catch (error) {
    throw new MillraceError("DATA_UNREADABLE", "the data directory cannot be read", {
      domain: "user",
      where: data,
      cause: error,
      hint: "Name the node's data directory with --data; only the user that runs the node may read it.",
    });
  }
}
