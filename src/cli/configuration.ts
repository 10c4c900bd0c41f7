/** The configuration as a command sees it: the file that was named or lies here, the environment, the flags. */
import fs from "node:fs";
import { MillraceError } from "../base/errors.ts";
import { loadConfig } from "../config/load.ts";
import { type NodeConfig, type NodeConfigInput, nodeConfig } from "../config/nodeConfig.ts";
import type { Flag } from "../config/settings.ts";

const usualFile = "millrace.yaml";

export interface Asked {
  /** --config, or MILLRACE_CONFIG. */
  readonly file?: string | undefined;
  readonly flags: readonly Flag[];
  /** What the command itself presets, below all else. */
  readonly presets?: NodeConfigInput;
}

export function readConfiguration({ file, flags, presets }: Asked): NodeConfig {
  return loadConfig(nodeConfig, {
    file: readFile(namedFile(file)),
    options: presets,
    environment: process.env,
    flags,
    workingDirectory: process.cwd(),
  });
}

/** Which file that is, for messages; undefined if there is none. */
export const configurationFile = (file: string | undefined): string | undefined =>
  namedFile(file) ?? (fs.existsSync(usualFile) ? usualFile : undefined);

const namedFile = (file: string | undefined): string | undefined => file ?? process.env.MILLRACE_CONFIG;

function readFile(named: string | undefined): { path: string; text: string } | undefined {
  const path = named ?? usualFile;
  try {
    return { path, text: fs.readFileSync(path, "utf8") };
  } catch (error) {
    if (named === undefined && (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new MillraceError("CONFIG_UNREADABLE", "the configuration file cannot be read", {
      domain: "user",
      where: path,
      cause: error,
      hint: "Name another one with --config; without it the file millrace.yaml of the working directory is read, if there is one.",
    });
  }
}
