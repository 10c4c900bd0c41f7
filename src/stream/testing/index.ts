/** Tests of pipelines: `import { testPipeline } from "millrace/testing"`. */
export type { DeadRecord } from "./session.ts";
export { type TestOptions, type TestPipeline, testPipeline } from "./testPipeline.ts";
