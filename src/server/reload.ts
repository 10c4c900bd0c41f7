/** Development only: builds a pipeline again when one of its files changes. A build that fails leaves the old one running and is said. */
import fs from "node:fs";
import path from "node:path";
import type { Logger } from "../base/logger.ts";
import type { PipelineHost } from "./pipelineHost.ts";
import type { Pipelines } from "./pipelines.ts";

/** An editor writes a file in several steps. */
const settleMs = 100;

export function reloadOnChange(pipelines: Pipelines, logger: Logger): () => void {
  const stops = pipelines.hosts.map((host) => watchOne(host, logger));
  return () => stops.forEach((stop) => stop());
}

function watchOne(host: PipelineHost, logger: Logger): () => void {
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
        watch();
      });
    }, settleMs);
  };
  /** Folders, not files: an editor replaces a file, and its watcher would stay with the old one. */
  const watch = (): void => {
    close();
    if (stopped) return;
    const inputs = new Set(host.inputs);
    for (const folder of new Set([...inputs].map((file) => path.dirname(file)))) {
      const watcher = fs.watch(folder, (_, name) => {
        if (name === null || inputs.has(path.join(folder, name))) changed();
      });
      watcher.on("error", (error) => logger.warn("changes of a folder are not seen any more", { folder, error }));
      watchers.push(watcher);
    }
  };
  const close = (): void => {
    for (const watcher of watchers) watcher.close();
    watchers = [];
  };
  watch();
  return () => {
    stopped = true;
    clearTimeout(timer);
    close();
  };
}

/** Whether the file is broken now. */
async function reload(host: PipelineHost, logger: Logger, broken: boolean): Promise<boolean> {
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
