/** Reads what a source text imports, and judges it by the table of rooms. */
import path from "node:path";

export interface Import {
  readonly specifier: string;
  readonly line: number;
  /** Gone after compilation: `import type`, `export type`, `import("...")` in a type is not told apart and counts as a value. */
  readonly typeOnly: boolean;
}

const blank = (text: string): string => text.replaceAll(/[^\n]/g, " ");

/** Comments become spaces, so that a quoted import in one is none and lines stay where they are. Strings stay. */
function withoutComments(source: string): string {
  return source.replaceAll(/("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\*[^]*?\*\/|\/\/[^\n]*/g, (whole, string) =>
    string === undefined ? blank(whole) : whole,
  );
}

export function importsOf(source: string): Import[] {
  const text = withoutComments(source);
  const found: Import[] = [];
  const add = (specifier: string, index: number, typeOnly: boolean): void => {
    found.push({ specifier, line: text.slice(0, index).split("\n").length, typeOnly });
  };
  // import x from "...", import { x } from "...", import "...", export { x } from "...", export * from "..."
  for (const match of text.matchAll(/(?:^|[;}\n])\s*(?:import|export)\s+(type\s+)?(?:[\w$*\s{},]+?\sfrom\s*)?["']([^"']+)["']/g)) {
    add(match[2] as string, match.index + match[0].indexOf(match[0].trimStart()), match[1] !== undefined);
  }
  // import("..."), also in types; import.meta.resolve("...")
  for (const match of text.matchAll(/\bimport\s*(?:\.\s*meta\s*\.\s*resolve\s*)?\(\s*["'`]([^"'`]+)["'`]/g)) {
    add(match[1] as string, match.index, false);
  }
  // new URL("./file.js", import.meta.url): a worker's entry
  for (const match of text.matchAll(/new\s+URL\(\s*["'](\.[^"']+)["']\s*,\s*import\.meta\.url/g))
    add(match[1] as string, match.index, false);
  return found;
}

/** `file`: path from the project's root, with slashes. Gives the imported file from the root too, or the package's name. */
export function target(file: string, specifier: string): { readonly kind: "file" | "package"; readonly name: string } {
  if (specifier.startsWith(".")) {
    return { kind: "file", name: path.posix.join(path.posix.dirname(file), specifier).replace(/\.js$/, ".ts") };
  }
  const parts = specifier.split("/");
  return { kind: "package", name: specifier.startsWith("@") ? parts.slice(0, 2).join("/") : (parts[0] as string) };
}
