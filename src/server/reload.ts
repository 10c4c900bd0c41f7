/** Development only: builds a pipeline again when one of its files changes. A build that fails leaves the old one running and is said. */
import fs from "node:fs";
import path from "node:path";
import type { Logger } from "../base/logger.ts";
import type { PipelineHost, PipelineStatus } from "./pipelineHost.ts";

export interface Reloadable extends Pick<PipelineHost, "inputs" | "reload" | "buildsOtherwise" | "overtake"> {
  status(): Pick<PipelineStatus, "name" | "state">;
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
  let broken = host.status().state === "failed";
  /** A file of it was saved, and what is built is older. */
  let saved = false;

  const settle = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = undefined;
      queue = queue.then(look);
    }, settleMs);
  };
  const look = async (): Promise<void> => {
    if (stopped) return;
    if (saved || (await host.buildsOtherwise())) {
      saved = false;
      broken = await reload(host, logger, broken);
    }
    await watch();
  };
  /** Folders, not files: an editor replaces a file, and its watcher would stay with the old one. */
  const watch = async (): Promise<void> => {
    close();
    if (stopped) return;
    const files = new Set(host.inputs.map(firstToAppear));
    for (const folder of new Set([...files].map((file) => path.dirname(file)))) watchFolder(folder, files);
    // nobody was told of what changed between the build and now
    if (!saved && (await host.buildsOtherwise())) changed();
  };
  const changed = (): void => {
    if (stopped) return;
    saved = true;
    host.overtake();
    settle();
  };
  const watchFolder = (folder: string, files: ReadonlySet<string>): void => {
    const lost = (error: unknown): void => logger.warn("changes of a folder are not seen any more", { folder, error });
    try {
      const watcher = fs.watch(folder, (_, name) => {
        // its own name: it is moved away, and another one may be in its place
        if (name === null || files.has(path.join(folder, name)) || name === path.basename(folder)) changed();
        // it may be what a broken one imports; a file that is written all the time puts nothing off
        else if (broken && timer === undefined) settle();
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
  return fs.existsSync(folder) || folder === file ? file : firstToAppear(folder);
}

/** Whether the file is broken now. What fails when it runs has said so itself. */
async function reload(host: Reloadable, logger: Logger, broken: boolean): Promise<boolean> {
  try {
    const outcome = await host.reload();
    if (outcome === "overtaken") return broken;
    const { name } = host.status();
    if (outcome === "replaced") logger.info("pipeline reloaded", { pipeline: name });
    else if (outcome === "same" && broken) logger.info("pipeline file is good again, and as it was", { pipeline: name });
    return false;
  } catch (error) {
    logger.error("pipeline not reloaded; what ran before goes on", { pipeline: host.status().name, error });
    return true;
  }
}
