import { mkdir } from "node:fs/promises";
import path from "node:path";
import { build } from "esbuild";
import { type Replacement, replacing } from "./replacing.ts";
import { smallLimits } from "./smallLimits.ts";

/** Inside the project, so that packages are found by their names; nothing there is ever committed. */
export const bundleFolder = path.resolve("node_modules/.cache/millrace-sim");

export interface SimulationBundle {
  /** What a worker thread begins with. */
  readonly thread: string;
  /** The simulation with all of src as one file, which the thread loads; the map of its lines is beside it. */
  readonly simulation: string;
}

/** @param changes besides the smaller limits */
export async function bundleSimulation(name: string, changes: readonly Replacement[] = []): Promise<SimulationBundle> {
  await mkdir(bundleFolder, { recursive: true });
  await build({
    entryPoints: { [name]: path.resolve("test/sim/simulationWorker.ts"), [`${name}-thread`]: path.resolve("test/sim/simulationThread.ts") },
    outdir: bundleFolder,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    sourcemap: true,
    logLevel: "silent",
    plugins: [replacing([...smallLimits, ...changes])],
  });
  return { thread: path.join(bundleFolder, `${name}-thread.mjs`), simulation: path.join(bundleFolder, `${name}.mjs`) };
}
