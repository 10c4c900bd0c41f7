import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that take more than some seconds, the slowest first: what begins last is short, and the workers end at about the same time. */
const slow = ["test/kill/kill.test.ts", "test/server/pipelines.test.ts"];

export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const at = slow.findIndex((file) => moduleId.endsWith(file));
      return at < 0 ? slow.length : at;
    };
    return [...files].sort((a, b) => place(a) - place(b) || (a.moduleId < b.moduleId ? -1 : 1));
  }
}
