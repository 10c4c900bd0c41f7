import { setTimeout as sleep } from "node:timers/promises";
import type { Flag } from "../config/settings.ts";
import { nodeProcesses } from "../log/processTable.ts";
import { readConfiguration } from "./configuration.ts";
import { ask } from "./controlClient.ts";
import { ExitCode } from "./exitCodes.ts";
import { runningNode } from "./runningNode.ts";
import { say } from "./terminal.ts";

export interface StopOptions {
  readonly file: string | undefined;
  readonly flags: readonly Flag[];
  readonly drain: boolean;
}

/** Returns when the process has ended, not before. */
export async function stop({ file, flags, drain }: StopOptions): Promise<number> {
  const { data } = readConfiguration({ file, flags });
  const { pid, socket } = await runningNode(data);
  const identity = await nodeProcesses.identity(pid);
  say(drain ? `draining the node (process ${pid})` : `stopping the node (process ${pid})`);
  await ask(socket, { command: "stop", drain });
  const runs = async (): Promise<boolean> => identity !== undefined && (await nodeProcesses.identity(pid)) === identity;
  while (await runs()) await sleep(20);
  say(drain ? "drained: everything published is committed" : "stopped");
  return ExitCode.done;
}
