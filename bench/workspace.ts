import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { ByteBudget } from "../src/base/byteBudget.ts";
import { systemClock } from "../src/base/clock.ts";
import { silentLogger } from "../src/base/logger.ts";
import { nodeFileSystem } from "../src/base/nodeFileSystem.ts";
import { logConfig, topicDefaults } from "../src/log/config.ts";
import type { EmbeddedLog } from "../src/log/contract/embeddedLog.ts";
import { openEmbeddedLog } from "../src/log/embedded/embeddedLog.ts";
import { openKeyedStore } from "../src/log/keyedStore.ts";

const folders = new Set<string>();

/** Ctrl-C leaves nothing behind: some of the folders are large. */
export function removeFoldersOnSignals(): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
      process.exit(130);
    });
  }
}

/** A folder that is there while `use` runs. On the disk of the temporary folder: TMPDIR chooses another. */
export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "millrace-bench-"));
  folders.add(folder);
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true });
    folders.delete(folder);
  }
}

/** The embedded log alone, as a node opens it. */
export async function withLog<T>(folder: string, use: (log: EmbeddedLog) => Promise<T>): Promise<T> {
  const surroundings = { fileSystem: nodeFileSystem, clock: systemClock, logger: silentLogger };
  const config = logConfig.parse({});
  const catalog = await openKeyedStore({ ...surroundings, path: path.join(folder, "catalog"), name: "catalog", formatVersion: 1 });
  const budget = new ByteBudget("publish", config.pendingBytesMax);
  const directory = path.join(folder, "topics");
  const log = await openEmbeddedLog({ ...surroundings, directory, budget, catalog, defaults: topicDefaults(config) });
  try {
    return await use(log);
  } finally {
    await log.close();
    await catalog.close();
  }
}
