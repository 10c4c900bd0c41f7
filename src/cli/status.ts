import type { Flag } from "../config/settings.ts";
import type { NodeStatus } from "../server/status.ts";
import { readConfiguration } from "./configuration.ts";
import { ask } from "./controlClient.ts";
import { ExitCode } from "./exitCodes.ts";
import { runningNode } from "./runningNode.ts";
import { statusText } from "./statusText.ts";
import { printData } from "./terminal.ts";

export interface StatusOptions {
  readonly file: string | undefined;
  readonly flags: readonly Flag[];
  readonly json: boolean;
}

export async function status({ file, flags, json }: StatusOptions): Promise<number> {
  const { data } = readConfiguration({ file, flags });
  const { socket } = await runningNode(data);
  const found = (await ask(socket, { command: "status" })) as NodeStatus;
  printData(json ? JSON.stringify(found) : statusText(found));
  return ExitCode.done;
}
