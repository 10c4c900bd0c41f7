import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^millrace$/, replacement: here("./src/index.ts") },
      { find: /^millrace\/testing$/, replacement: here("./src/stream/testing/index.ts") },
      { find: /^millrace\/connectors\/parquet$/, replacement: here("./connectors/parquet/index.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/systems/**"],
    // only what hangs comes to it: the slowest test takes some seconds, and a loaded machine may be ten times slower
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: process.env.TEST_REPORT === undefined ? ["default"] : ["default", ["json", { outputFile: process.env.TEST_REPORT }]],
  },
});
