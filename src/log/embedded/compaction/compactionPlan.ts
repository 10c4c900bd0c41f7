import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import type { TopicConfig } from "../../contract/partitionedLog.ts";
import { latestTimestampOf } from "../partition/retention.ts";
import { baseOffsetsOf, logFileName } from "../segment/names.ts";
import { SEGMENT_OFFSETS_MAX } from "../segment/offsetIndex.ts";

/** A segment that is not written any more. */
export interface RolledSegment {
  readonly baseOffset: number;
  readonly bytes: number;
  /** Where the next one begins. */
  readonly nextBase: number;
}

interface CompactionPlan {
  /** From the log's start to where it may be compacted. */
  readonly segments: readonly RolledSegment[];
  /** What is below was compacted already. */
  readonly dirtyFrom: number;
  readonly dirtyBytes: number;
}

/**
 * What may be compacted at `now`; undefined: not enough of it is dirty. Whole segments, from the start to the first one that is written,
 * that reaches over `cleanableEnd`, or that has a record younger than min.compaction.lag.ms.
 */
export async function planCompaction(
  fileSystem: FileSystem,
  folder: string,
  config: TopicConfig,
  cleanedTo: number,
  cleanableEnd: number,
  now: number,
): Promise<CompactionPlan | undefined> {
  const bases = baseOffsetsOf(await fileSystem.list(folder));
  const dirtyFrom = Math.max(cleanedTo, bases[0] ?? 0);
  const segments: RolledSegment[] = [];
  let bytes = 0;
  let dirtyBytes = 0;
  for (const [i, baseOffset] of bases.entries()) {
    const nextBase = bases[i + 1];
    if (nextBase === undefined || nextBase > cleanableEnd) break;
    const isDirty = nextBase > dirtyFrom;
    if (isDirty && (await isTooYoung(fileSystem, folder, { baseOffset, nextBase }, config.minCompactionLagMs, now))) break;
    const segment = { baseOffset, nextBase, bytes: (await fileSystem.stat(path.join(folder, logFileName(baseOffset))))?.bytes ?? 0 };
    segments.push(segment);
    bytes += segment.bytes;
    if (isDirty) dirtyBytes += segment.bytes;
  }
  return dirtyBytes > 0 && dirtyBytes > bytes * config.minCleanableDirtyRatio ? { segments, dirtyFrom, dirtyBytes } : undefined;
}

async function isTooYoung(
  fileSystem: FileSystem,
  folder: string,
  { baseOffset, nextBase }: Pick<RolledSegment, "baseOffset" | "nextBase">,
  lagMs: number,
  now: number,
): Promise<boolean> {
  return lagMs > 0 && (await latestTimestampOf(fileSystem, folder, baseOffset, { nextBase })) > now - lagMs;
}

/** Neighbours that together are no larger than one segment may be become one. */
export function groupsOf(segments: readonly RolledSegment[], segmentBytes: number): RolledSegment[][] {
  const groups: RolledSegment[][] = [];
  let bytes = 0;
  for (const segment of segments) {
    const group = groups.at(-1);
    const first = group?.[0]?.baseOffset ?? 0;
    if (group === undefined || bytes + segment.bytes > segmentBytes || segment.nextBase - 1 - first > SEGMENT_OFFSETS_MAX) {
      groups.push([segment]);
      bytes = segment.bytes;
    } else {
      group.push(segment);
      bytes += segment.bytes;
    }
  }
  return groups;
}
