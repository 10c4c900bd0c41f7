/** Imports a built pipeline, and says what is wrong with a file that holds none. */
import { fileURLToPath, pathToFileURL } from "node:url";
import { MillraceError, toMillraceError } from "../base/errors.ts";
import type { Pipeline } from "../stream/pipeline.ts";

/** `source` is the user's file, for messages. */
export async function loadPipeline(source: string, bundle: string): Promise<Pipeline> {
  const module = (await import(pathToFileURL(bundle).href).catch((error: unknown) => {
    throw toMillraceError(error, "PIPELINE_INVALID", "the pipeline file fails when it is loaded", {
      domain: "user",
      where: placeOf(error) ?? source,
      hint:
        error instanceof SyntaxError
          ? "Import what the package exports; a TypeScript compiler or an editor shows it."
          : "It must not do more than build a pipeline when it is imported.",
    });
  })) as { default?: unknown };
  if (isPipeline(module.default)) return module.default;
  throw new MillraceError("PIPELINE_INVALID", `the file's default export is ${kindOf(module)}, not a pipeline`, {
    domain: "user",
    where: source,
    hint: 'Write: export default pipeline("name", ({ source, sink }) => { ... });',
  });
}

const isPipeline = (value: unknown): value is Pipeline =>
  typeof value === "object" && value !== null && (value as Partial<Pipeline>).kind === "pipeline";

const kindOf = (module: { default?: unknown }): string => {
  if (!("default" in module)) return "missing";
  return module.default === null ? "null" : `of type ${typeof module.default}`;
};

/** Our own files, and packages. */
const notTheirs = [...["../", "../../connectors/"].map((folder) => fileURLToPath(new URL(folder, import.meta.url))), "/node_modules/"];

/** The first line of the stack that is in a file of the user's. */
export function placeOf(error: unknown): string | undefined {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  const places = stack.split("\n").map((line) => /^\s+at (?:.* \()?(?:file:\/\/)?(\/[^()]+:[0-9]+:[0-9]+)\)?$/.exec(line)?.[1]);
  return places.find((place) => place !== undefined && !notTheirs.some((part) => place.includes(part)));
}
