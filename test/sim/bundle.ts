import { mkdir } from "node:fs/promises";
import path from "node:path";
import { build, type Plugin } from "esbuild";

/** Inside the project, so that packages are found by their names; nothing there is ever committed. */
export const bundleFolder = path.resolve("node_modules/.cache/millrace-sim");

/** The simulation with all of src as one file that a worker thread runs, and the map of its lines. */
export async function bundleSimulation(name: string, plugins: Plugin[] = []): Promise<string> {
  await mkdir(bundleFolder, { recursive: true });
  const outfile = path.join(bundleFolder, `${name}.mjs`);
  await build({
    entryPoints: [path.resolve("test/sim/simulationWorker.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    sourcemap: true,
    logLevel: "silent",
    plugins,
  });
  return outfile;
}
