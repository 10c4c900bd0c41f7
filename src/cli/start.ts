import type { Flag } from "../config/settings.ts";
import { createLogger } from "../server/logging.ts";
import { openNode } from "../server/openNode.ts";
import { readConfiguration } from "./configuration.ts";
import { untilEnded } from "./untilEnded.ts";

export interface StartOptions {
  readonly file: string | undefined;
  readonly flags: readonly Flag[];
}

/** Runs until a signal or `millrace stop`. */
export async function start({ file, flags }: StartOptions): Promise<number> {
  const config = readConfiguration({ file, flags });
  const node = await openNode(config, { logger: createLogger(config.logging), baseDirectory: process.cwd() });
  return untilEnded(node);
}
