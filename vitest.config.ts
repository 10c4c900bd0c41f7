import os from "node:os";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { ProgressReporter } from "./test/support/progressReporter.ts";
import { SlowestFirst } from "./test/support/slowestFirst.ts";

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
    maxWorkers: os.availableParallelism(),
    sequence: { sequencer: SlowestFirst },
    // .ci/run reads the report
    reporters: process.env.TEST_REPORT === undefined ? ["default"] : ["default", new ProgressReporter(process.env.TEST_REPORT)],
  },
});
