import path from "node:path";
import type { FileSystem } from "../../src/base/fileSystem.ts";
import { CLEANED_SUFFIX } from "../../src/log/embedded/segment/names.ts";
import { changed } from "../support/changed.ts";

const cleanedLog = `.log${CLEANED_SUFFIX}`;

/** Counts what compaction does, by the files it makes: each pass writes cleaned segments from the start of the log on. */
export class CompactionWatch {
  /** By folder, the pass that is under way: where the segment begins that it writes. */
  private passes = new Map<string, string>();
  private hasStarted = false;

  constructor(private readonly note: (what: string) => void) {}

  /** The file system for the next process. */
  around(fileSystem: FileSystem): FileSystem {
    return changed(fileSystem, {
      open: async (file, mode) => {
        const opened = await fileSystem.open(file, mode);
        if (mode === "create" && file.endsWith(cleanedLog)) this.writes(file);
        return opened;
      },
      rename: async (from, to) => {
        await fileSystem.rename(from, to);
        if (!from.endsWith(cleanedLog)) return;
        this.note(this.hasStarted ? "compaction: a segment is replaced" : "compaction: a replacement goes on at a start");
      },
    });
  }

  started(): void {
    this.hasStarted = true;
  }

  /** What the log says of itself. */
  informed(message: string): void {
    if (message !== "compacted a partition") return;
    this.note("compaction: a pass ends");
    this.passes.clear(); // one goes on at a time
  }

  died(how: string): void {
    for (const _ of this.passes) this.note(`compaction: a pass is interrupted by ${how}`);
    this.passes.clear();
    this.hasStarted = false;
  }

  private writes(file: string): void {
    const folder = path.dirname(file);
    const before = this.passes.get(folder);
    this.passes.set(folder, file);
    if (before !== undefined && before < file) return;
    this.note("compaction: a pass begins");
    if (before !== undefined) this.note("compaction: a pass that failed is begun again");
  }
}
