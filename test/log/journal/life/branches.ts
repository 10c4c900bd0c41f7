import type { FileSystem } from "../../../../src/base/fileSystem.ts";
import { cutEntryBytes, decodeCut, fileHeaderBytes } from "../../../../src/log/journal/files/format.ts";
import { parseSegmentFileName } from "../../../../src/log/journal/segments/segmentFormat.ts";

/** What must have happened at least once in all lives together. */
export type Branch = keyof typeof noBranches;
export const noBranches = {
  "a file's content moved to a segment": 0,
  "segments merged, or rewritten": 0,
  "a segment removed": 0,
  "a restart that finds a segment": 0,
  "a restart that finds a list of what is gone": 0,
  "a restart that finds the journal file and its segment": 0,
  "a restart that finds a segment and the one that replaces it": 0,
  "a restart that finds a file in the making": 0,
  "a restart that finds a segment in the making": 0,
  "a restart that finds a run": 0,
  "a copy fetched from a run, and gone before others of it": 0,
  "a run that was moved into another segment": 0,
  "a run that was released unread": 0,
};

/** And in those with a disk that refuses. */
export type FaultBranch = keyof typeof noFaultBranches;
export const noFaultBranches = {
  "a write or sync failed": 0,
  "going on failed too": 0,
  "the journal went on in another file": 0,
  "an end while the journal was down": 0,
  "a publish refused while it was down": 0,
  "a publish refused while the disk was full": 0,
  "a place told after a failure": 0,
  "the place of an id told after a failure": 0,
  "a message confirmed again after its publish failed": 0,
  "a restart that finds a cut": 0,
  "a restart that finds a file that was begun and given up": 0,
  "a restart that finds a gap where files were given up": 0,
  "a restart that finds a cut whose failed file was used again": 0,
  "a file made at a later try": 0,
};

/** Counts how often each of them was met in a life. */
export class BranchesMet {
  readonly met: Record<Branch, number> = { ...noBranches };
  readonly metFaults: Record<FaultBranch, number> = { ...noFaultBranches };
  private segmentsSeen: string[] = [];

  saw(branch: Branch, seen = true): void {
    if (seen) this.met[branch]++;
  }

  sawFault(branch: FaultBranch, seen = true): void {
    if (seen) this.metFaults[branch]++;
  }

  /** At a start: what the process before has left. */
  async lookAtDisk(fileSystem: FileSystem): Promise<void> {
    const names: string[] = await fileSystem.list("/journal").catch(() => []);
    const segments = names.flatMap((name) => parseSegmentFileName(name) ?? []);
    const files = new Set(names.flatMap((name) => /^(\d+)\.journal$/.exec(name)?.[1] ?? []).map(Number));
    const isReplaced = (one: (typeof segments)[number]): boolean =>
      segments.some((other) => other.generation > one.generation && other.first <= one.first && other.last >= one.last);
    this.saw("a file's content moved to a segment", segments.length > 0);
    this.saw("a restart that finds a segment", segments.length > 0);
    const isMerged = segments.some(({ generation }) => generation > 0);
    this.saw("segments merged, or rewritten", isMerged);
    const hasList = names.some((name) => name.endsWith(".dead"));
    this.saw("a restart that finds a list of what is gone", hasList);
    const isThereTwice = segments.some(({ last }) => files.has(last));
    this.saw("a restart that finds the journal file and its segment", isThereTwice);
    this.saw("a restart that finds a segment and the one that replaces it", segments.some(isReplaced));
    this.saw("a restart that finds a file in the making", names.includes("next.spare"));
    this.saw("a restart that finds a segment in the making", names.includes("next.segment-making"));
    const isMissed = this.segmentsSeen.some((one) => !names.includes(one));
    this.saw("a segment removed", isMissed);
    this.segmentsSeen = names.filter((name) => name.endsWith(".segment"));
    const inOrder = [...files].sort((a, b) => a - b);
    await this.lookAtCuts(fileSystem, inOrder);
  }

  private async lookAtCuts(fileSystem: FileSystem, files: readonly number[]): Promise<void> {
    for (const by of files) {
      const bytes = await fileSystem.readFile(`/journal/${String(by).padStart(12, "0")}.journal`);
      const cut = decodeCut(bytes.subarray(fileHeaderBytes, fileHeaderBytes + 2 * cutEntryBytes), by);
      if (cut === undefined) continue;
      const between = files.filter((file) => file > cut.sequence && file < by);
      this.sawFault("a restart that finds a cut");
      this.sawFault("a restart that finds a file that was begun and given up", between.length > 0);
      this.sawFault("a restart that finds a gap where files were given up", between.length < by - cut.sequence - 1);
      this.sawFault("a restart that finds a cut whose failed file was used again", !files.includes(cut.sequence));
    }
  }
}
