import { readFileSync } from "node:fs";
import { type Profiler, Session } from "node:inspector";
import { fileURLToPath } from "node:url";

/** Which characters of a file were run in this thread, by V8's own count of its blocks: the code that is watched knows nothing of it. */
export class BlockCounter {
  private readonly session = new Session();

  constructor(private readonly url: string) {}

  /** The post of a session that belongs to the same thread is answered before it returns. */
  start(): void {
    this.session.connect();
    this.session.post("Profiler.enable");
    this.session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** A byte a character: 1 where it was run. What is in no function that V8 knows of counts as run: it is no code of ours. */
  entered(): Uint8Array {
    let functions: readonly Profiler.FunctionCoverage[] = [];
    this.session.post("Profiler.takePreciseCoverage", (error, { result }) => {
      if (error) throw error;
      functions = result.find(({ url }) => url === this.url)?.functions ?? [];
    });
    const entered = new Uint8Array(readFileSync(fileURLToPath(this.url), "utf8").length).fill(1);
    // a function comes before those within it, and a block before those within it
    for (const { ranges } of functions)
      for (const { startOffset, endOffset, count } of ranges) entered.fill(count > 0 ? 1 : 0, startOffset, endOffset);
    return entered;
  }
}
