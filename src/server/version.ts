import { createRequire } from "node:module";

/** From package.json, which is the one place that says it. Both the sources and the build are two folders below it or one more. */
export const version: string = (() => {
  const require = createRequire(import.meta.url);
  for (const place of ["../../package.json", "../../../package.json"]) {
    try {
      const found = require(place) as { name?: string; version?: string };
      if (found.name === "millrace" && found.version !== undefined) return found.version;
    } catch {
      // the other place
    }
  }
  return "unknown";
})();
