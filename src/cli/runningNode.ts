import { MillraceError } from "../base/errors.ts";
import { nodeFileSystem } from "../base/nodeFileSystem.ts";
import { readLock } from "../log/directoryLock.ts";

export interface RunningNode {
  readonly pid: number;
  readonly socket: string;
}

/** The node that holds the data directory; NODE_NOT_RUNNING if none does. */
export async function runningNode(data: string): Promise<RunningNode> {
  const exists = (await nodeFileSystem.stat(data)) !== undefined;
  const holder = exists ? await readLock({ fileSystem: nodeFileSystem, directory: data }) : undefined;
  const socket = holder?.info.control;
  if (holder !== undefined && typeof socket === "string") return { pid: holder.pid, socket };
  throw new MillraceError(
    "NODE_NOT_RUNNING",
    holder === undefined ? "no node runs on this data directory" : `the node (process ${holder.pid}) is still starting`,
    { domain: "user", where: data, hint: "Name the node's data directory with --data, or its file with --config." },
  );
}
