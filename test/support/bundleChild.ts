import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** A TypeScript file as something that a bare `node` runs, for tests that kill a process of their own. */
export interface BundledChild {
  /** For who starts it in another way. */
  readonly file: string;
  /** Its output comes through `stdout`; what it says on stderr is shown. */
  start(args: readonly string[]): ChildProcess;
  remove(): Promise<void>;
}

/** Bundles with everything of ours; packages stay where they are, so the bundle lies inside the project. */
export async function bundleChild(source: URL): Promise<BundledChild> {
  const folder = await mkdtemp(path.join(tmpdir(), "millrace-child-"));
  const bundle = path.join(folder, "child.mjs");
  const resolveDir = path.dirname(fileURLToPath(source));
  await build({
    entryPoints: [fileURLToPath(source)],
    outfile: bundle,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    logLevel: "silent",
    // the bundle lies in a temporary folder, from where no package would be found by its name
    plugins: [
      {
        name: "packages-by-path",
        setup(setup) {
          setup.onResolve({ filter: /^[^./]/ }, ({ path: name }) =>
            name.startsWith("node:") ? { external: true } : { path: fileURLToPath(import.meta.resolve(name)), external: true },
          );
        },
      },
    ],
    absWorkingDir: resolveDir,
  });
  return {
    file: bundle,
    start: (args) => spawn(process.execPath, [bundle, ...args], { stdio: ["ignore", "pipe", "inherit"] }),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
