import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { silentLogger } from "../base/logger.ts";
import type { Flag } from "../config/settings.ts";
import { bundlePipeline } from "../server/bundle.ts";
import { loadOnly, nameTaken } from "../server/pipelineHost.ts";
import { configurationFile, readConfiguration } from "./configuration.ts";
import { ExitCode } from "./exitCodes.ts";
import { printData, sayError } from "./terminal.ts";

export interface CheckOptions {
  /** One configuration file, or pipeline files; none: the configuration here. */
  readonly files: readonly string[];
  readonly file: string | undefined;
  readonly flags: readonly Flag[];
}

/** Says all that is wrong, not only the first of it. */
export async function check({ files, file, flags }: CheckOptions): Promise<number> {
  const configFiles = files.filter((name) => /\.ya?ml$/.test(name));
  const pipelines = files.filter((name) => !configFiles.includes(name)).map((name) => path.resolve(name));
  let good = true;
  const wanted = files.length === 0 ? [file] : configFiles;
  for (const name of wanted) {
    try {
      const config = readConfiguration({ file: name, flags });
      pipelines.push(...config.pipelines);
      printData(`ok  configuration  ${configurationFile(name) ?? "defaults, the environment and flags"}`);
    } catch (error) {
      good = false;
      sayError(error);
    }
  }
  return (await checkPipelines(pipelines)) && good ? ExitCode.done : ExitCode.failed;
}

async function checkPipelines(files: readonly string[]): Promise<boolean> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-check-"));
  const names = new Set<string>();
  let good = true;
  try {
    for (const file of files) {
      try {
        const bundle = await bundlePipeline(file, folder);
        const name = await loadOnly(file, bundle, silentLogger);
        if (names.has(name)) throw nameTaken(name, file);
        names.add(name);
        printData(`ok  pipeline       ${name}  ${file}`);
      } catch (error) {
        good = false;
        sayError(error);
      }
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
  return good;
}
