/** Development only: builds a pipeline again when one of its files changes. A build that fails leaves the old one running and is said. */
import fs from "node:fs";
import path from "node:path";
import type { Logger } from "../base/logger.ts";
import type { PipelineHost } from "./pipelineHost.ts";

export interface Reloadable extends Pick<PipelineHost, "inputs" | "reload" | "buildsOtherwise"> {
  status(): { readonly name: string };
}

/** An editor writes a file in several steps. */
const settleMs = 100;

export function reloadOnChange(hosts: readonly Reloadable[], logger: Logger): () => void {
  const stops = hosts.map((host) => watchOne(host, logger));
  return () => stops.forEach((stop) => stop());
}

function watchOne(host: Reloadable, logger: Logger): () => void {
  let watchers: fs.FSWatcher[] = [];
  let timer: NodeJS.Timeout | undefined;
  let queue: Promise<void> = Promise.resolve();
  let stopped = false;
  let broken = false;

  const changed = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      queue = queue.then(async () => {
        broken = await reload(host, logger, broken);
        await watch();
      });
    }, settleMs);
  };
  /** Folders, not files: an editor replaces a file, and its watcher would stay with the old one. */
  const watch = async (): Promise<void> => {
    close();
    if (stopped) return;
    const inputs = new Set(host.inputs.map(firstToAppear));
    for (const folder of new Set([...inputs].map((input) => path.dirname(input)))) watchFolder(folder, inputs);
    // nobody was told of what changed between the build and now
    if ((await host.buildsOtherwise()) && !stopped) changed();
  };
  const watchFolder = (folder: string, inputs: ReadonlySet<string>): void => {
    const lost = (error: unknown): void => logger.warn("changes of a folder are not seen any more", { folder, error });
    try {
      const watcher = fs.watch(folder, (_, name) => {
        if (name === null || inputs.has(path.join(folder, name))) changed();
      });
      watchers.push(watcher.on("error", lost));
    } catch (error) {
      lost(error); // it went just now, or there are too many watchers
    }
  };
  const close = (): void => {
    for (const watcher of watchers) watcher.close();
    watchers = [];
  };
  queue = watch();
  return () => {
    stopped = true;
    clearTimeout(timer);
    close();
  };
}

/** The file; the first folder on the way to it that is not there, while it is gone with its folder, as with another branch. */
function firstToAppear(file: string): string {
  const folder = path.dirname(file);
  return fs.existsSync(folder) ? file : firstToAppear(folder);
}

/** Whether the file is broken now. */
async function reload(host: Reloadable, logger: Logger, broken: boolean): Promise<boolean> {
  try {
    const outcome = await host.reload();
    const { name } = host.status();
    if (outcome === "replaced") logger.info("pipeline reloaded", { pipeline: name });
    else if (broken) logger.info("pipeline file is good again, and as it was", { pipeline: name });
    return false;
  } catch (error) {
    logger.error("pipeline not reloaded; what ran before goes on", { pipeline: host.status().name, error });
    return true;
  }
}
