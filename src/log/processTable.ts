import { readFile } from "node:fs/promises";
import { isCode } from "../base/systemError.ts";

/** Which processes run; passed in, so that a test can kill them. */
export interface ProcessTable {
  readonly ownPid: number;
  /** What tells a process from a later one with the same pid; undefined: no such process runs. */
  identity(pid: number): Promise<string | undefined>;
}

export const nodeProcesses: ProcessTable = {
  ownPid: process.pid,
  async identity(pid) {
    const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => undefined);
    if (boot === undefined) return isRunning(pid) ? "running" : undefined; // no Linux: the pid alone
    const stat = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => undefined);
    if (stat === undefined) return undefined;
    // the name, in parentheses, may hold anything; after it come the state (field 3) and, as field 22, the start in ticks
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : `${boot.trim()}/${fields[19]}`;
  },
};

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isCode(error, "EPERM");
  }
}
