/**
 * A user's pipeline file as one module that a worker can import. Bundled with esbuild into `<folder>/<name>-<hash>.mjs`; the hash of
 * the code is its version, so the same code is written once. The user's own files are inside; packages stay outside, as absolute
 * addresses: those of the user's folder first, ours where it has none. `millrace` is always this running package, so that there is one engine.
 */
import { createHash } from "node:crypto";
import { mkdir, rename, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { BuildFailure, Message, Plugin } from "esbuild";
import { MillraceError } from "../base/errors.ts";

/** Builds of the same code may go on side by side. */
let builds = 0;

/**
 * @param read gets every file of the user's that is read, also by a build that fails, and what is imported and not there, as the import says it
 * @returns where the module is
 */
export async function bundlePipeline(source: string, folder: string, read = new Set<string>()): Promise<string> {
  const { build } = await import("esbuild"); // 30 ms that a node without pipelines does not pay
  const workingDirectory = path.dirname(source);
  const result = await build({
    entryPoints: [source],
    absWorkingDir: workingDirectory,
    outfile: path.join(folder, "bundle.mjs"),
    bundle: true,
    write: false,
    format: "esm",
    platform: "node",
    target: "node20",
    conditions: [], // without it esbuild adds "module", and Node would load another copy of the same package
    sourcemap: "inline",
    logLevel: "silent",
    plugins: [packagesStayOutside, notesFiles(read)],
  }).catch((error: BuildFailure) => {
    throw buildError(error, source, workingDirectory);
  });
  const code = result.outputFiles[0]?.contents as Uint8Array;
  const hash = createHash("sha256").update(code).digest("hex").slice(0, 16);
  const file = path.join(folder, `${path.parse(source).name}-${hash}.mjs`);
  const making = `${file}.${process.pid}-${++builds}`;
  await mkdir(folder, { recursive: true, mode: 0o750 });
  await writeFile(making, code);
  await rename(making, file);
  return file;
}

const notesFiles = (read: Set<string>): Plugin => ({
  name: "notes-files",
  setup(build) {
    build.onResolve({ filter: /^[./]/ }, ({ path: specifier, resolveDir }) => {
      read.add(path.resolve(resolveDir, specifier));
      return undefined;
    });
    build.onLoad({ filter: /./, namespace: "file" }, ({ path: file }) => {
      read.add(file);
      return undefined;
    });
  },
});

const ourFolder = path.dirname(fileURLToPath(import.meta.url));
/** What a package may be made of that Node cannot run: it is bundled instead (a workspace package in TypeScript). */
const notForNode = /\.(ts|tsx|mts|cts|jsx)$/;
const asked = Symbol("asked by this plugin");

const packagesStayOutside: Plugin = {
  name: "packages-stay-outside",
  setup(build) {
    build.onResolve({ filter: /^millrace($|\/)/ }, ({ path: specifier }) => ({
      path: import.meta.resolve(specifier),
      external: true,
    }));
    build.onResolve({ filter: /^[^./]/ }, async ({ path: specifier, kind, resolveDir, importer, pluginData }) => {
      if (pluginData === asked || kind === "entry-point" || path.isAbsolute(specifier)) return undefined;
      if (specifier.startsWith("node:")) return { path: specifier, external: true };
      const options = { kind, importer, pluginData: asked };
      const theirs = await build.resolve(specifier, { ...options, resolveDir });
      const found = theirs.errors.length === 0 ? theirs : await build.resolve(specifier, { ...options, resolveDir: ourFolder });
      if (found.errors.length > 0) return { errors: theirs.errors };
      if (found.external) return { path: found.path, external: true }; // a module of Node's
      return notForNode.test(found.path) ? { path: found.path } : { path: pathToFileURL(found.path).href, external: true };
    });
  },
};

function buildError(error: BuildFailure, source: string, workingDirectory: string): MillraceError {
  const messages = error.errors ?? [];
  const first: Message | undefined = messages[0];
  const location = first?.location;
  const where = location ? `${path.resolve(workingDirectory, location.file)}:${location.line}:${location.column + 1}` : source;
  const more = messages.length > 1 ? ` (and ${messages.length - 1} more)` : "";
  return new MillraceError("PIPELINE_INVALID", `the pipeline cannot be built: ${first?.text ?? error.message}${more}`, {
    domain: "user",
    where,
    hint: hintFor(location),
  });
}

/** At the end of a file that ends too early there is no line to show. */
function hintFor(location: Message["location"] | undefined): string {
  if (!location) return "Check the path and that the file may be read.";
  return location.lineText.trim() === "" ? "Correct the file there." : `The line is: ${location.lineText.trim()}`;
}
