import { readFileSync } from "node:fs";
import { type Profiler, Session } from "node:inspector";
import { fileURLToPath } from "node:url";

/** In how many seeds each character of a file was run in this thread, by V8's own count of its blocks: the code that is watched knows nothing of it. */
export class BlockCounter {
  private readonly session = new Session();
  /** As long as the file. */
  readonly seeds: Uint16Array;
  private readonly entered: Uint8Array;
  /** Run while the file was loaded, so that no seed had to run it. */
  private loaded: Uint8Array | undefined;

  constructor(private readonly url: string) {
    const { length } = readFileSync(fileURLToPath(url), "utf8");
    this.seeds = new Uint16Array(length);
    this.entered = new Uint8Array(length);
  }

  /** Before the file is loaded: of a function that was there already V8 says nothing as long as nobody calls it. */
  start(): void {
    this.session.connect();
    this.session.post("Profiler.enable");
    this.session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  fileIsLoaded(): void {
    this.loaded = this.take().slice();
  }

  seedIsOver(): void {
    const { seeds, entered, loaded = entered } = this;
    this.take();
    for (let at = 0; at < seeds.length; at++) if (entered[at] === 1 || loaded[at] === 1) (seeds[at] as number)++;
  }

  /** What was run since it was asked the last time: V8 begins to count anew. The post of a session of the same thread is answered before it returns. */
  private take(): Uint8Array {
    let functions: readonly Profiler.FunctionCoverage[] = [];
    this.session.post("Profiler.takePreciseCoverage", (error, { result }) => {
      if (error) throw error;
      functions = result.find(({ url }) => url === this.url)?.functions ?? [];
    });
    this.entered.fill(0);
    // a function comes before those within it, and a block before those within it; those of one that did not run, if they did not, do not come
    for (const { ranges } of functions)
      for (const { startOffset, endOffset, count } of ranges) this.entered.fill(count > 0 ? 1 : 0, startOffset, endOffset);
    return this.entered;
  }
}
