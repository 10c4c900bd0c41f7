import path from "node:path";
import type { Flag } from "../config/settings.ts";
import { createLogger } from "../server/logging.ts";
import { openNode } from "../server/openNode.ts";
import { reloadOnChange } from "../server/reload.ts";
import { banner } from "./banner.ts";
import { readConfiguration } from "./configuration.ts";
import { ExitCode } from "./exitCodes.ts";
import { stopOnSignals } from "./signals.ts";
import { say, sayError } from "./terminal.ts";

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
  const forget = stopOnSignals(() => void node.stop().catch(() => undefined)); // its failure is that of `ended`
  const stopReloading = reloadOnChange(node.pipelines, logger);
  try {
    say(banner(node.status(), config));
    await node.ended;
    return ExitCode.done;
  } catch (error) {
    sayError(error);
    return ExitCode.failed;
  } finally {
    stopReloading();
    forget();
  }
}
