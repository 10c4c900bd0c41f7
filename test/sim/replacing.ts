import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Plugin } from "esbuild";

/** Another text in the place of one in a file of src. */
export interface Replacement {
  readonly file: string;
  /** Must be in the file exactly once: whoever moves it looks what has become of the replacement. */
  readonly from: string;
  readonly to: string;
}

/** Replaces the texts while the files are bundled. */
export function replacing(replacements: readonly Replacement[]): Plugin {
  return {
    name: "replacing",
    setup(setup) {
      const left = new Set(replacements.map(({ file }) => file));
      setup.onLoad({ filter: /\.ts$/ }, async ({ path: loaded }) => {
        const file = path.relative(process.cwd(), loaded);
        const ofFile = replacements.filter((one) => one.file === file);
        if (ofFile.length === 0) return undefined;
        left.delete(file);
        let source = await readFile(loaded, "utf8");
        for (const { from, to } of ofFile) {
          const count = source.split(from).length - 1;
          if (count !== 1) throw new Error(`${file} has ${count} times what is to be replaced: ${from}`);
          source = source.replace(from, () => to);
        }
        return { contents: source, loader: "ts" };
      });
      setup.onEnd(() => {
        if (left.size > 0) throw new Error(`not in the bundle: ${[...left].join(", ")}`);
      });
    },
  };
}
