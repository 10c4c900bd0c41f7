import path from "node:path";
import type { Flag } from "../config/settings.ts";
import { createLogger } from "../server/logging.ts";
import { openNode } from "../server/openNode.ts";
import { reloadOnChange } from "../server/reload.ts";
import { banner } from "./banner.ts";
import { readConfiguration } from "./configuration.ts";
import { say } from "./terminal.ts";
import { untilEnded } from "./untilEnded.ts";

export interface DevOptions {
  readonly pipelines: readonly string[];
  readonly file: string | undefined;
  readonly flags: readonly Flag[];
}

/** Everything in one process, on loopback, whatever the file says. Runs until Ctrl-C or `millrace stop`. */
export async function dev({ pipelines, file, flags }: DevOptions): Promise<number> {
  const named = pipelines.length === 0 ? [] : [{ name: "--pipelines", value: JSON.stringify(pipelines.map((name) => path.resolve(name))) }];
  const loopback = { name: "--listeners.amqp.host", value: "127.0.0.1" };
  const config = readConfiguration({ file, flags: [...flags, ...named, loopback] });
  const logger = createLogger(config.logging);
  const node = await openNode(config, { logger, nextPortIfTaken: true, baseDirectory: process.cwd() });
  const stopReloading = reloadOnChange(node.pipelines.hosts, logger);
  say(banner(node.status(), config));
  return untilEnded(node).finally(stopReloading);
}
