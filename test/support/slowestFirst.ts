import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Those that take more than five seconds, the slowest first: what begins last is short, and the workers end at about the same time. */
const slow = [
  "test/kill/kill.test.ts",
  "test/server/pipelines.test.ts",
  "test/crash/line.test.ts",
  "test/log/compactionCrash.test.ts",
  "test/log/journal/journalCrash.test.ts",
  "test/server/lifecycle.test.ts",
  "test/cli/commands.test.ts",
  "test/log/logCrash.test.ts",
  "test/sim/simulation.test.ts",
  "test/package.test.ts",
  "test/server/dev.test.ts",
  "test/connectors/parquet/encoder.test.ts",
  "test/broker/queue.test.ts",
  "test/protocol/amqp/bounds.test.ts",
  "test/connectors/parquet/sinkCrash.test.ts",
  "test/broker/bounds.test.ts",
];

export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const at = slow.findIndex((file) => moduleId.endsWith(file));
      return at < 0 ? slow.length : at;
    };
    return [...files].sort((a, b) => place(a) - place(b) || (a.moduleId < b.moduleId ? -1 : 1));
  }
}
