import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import { maxTimestampAt } from "../../../record/batchHeader.ts";
import { type TopicConfig, UNLIMITED } from "../../contract/partitionedLog.ts";
import { confirmedLatest } from "../reading/confirmedTime.ts";
import { scanPastDamage } from "../segment/damagedScan.ts";
import { baseOffsetsOf, logFileName } from "../segment/names.ts";

/** How far the partition is. */
interface ActiveSegment {
  readonly baseOffset: number;
  readonly bytes: number;
  /** The partition's end. */
  readonly offset: number;
}

interface RetentionPlan {
  /** The oldest segments, whose time has come. */
  readonly remove: readonly number[];
  /** The base offset of the first one that stays: what is below is not kept any more. */
  readonly keepFrom: number;
  /** All of the segment that is being written has to go too: as soon as there is a next one. */
  readonly rollActive: boolean;
  /** When the age of the first one that stays is reached. */
  readonly againAt: number;
}

/** Which segments have to go at `now`: because nobody may read them any more; and by age and size, where the cleanup policy deletes. */
export async function planRetention(
  fileSystem: FileSystem,
  folder: string,
  config: TopicConfig,
  active: ActiveSegment,
  startOffset: number,
  now: number,
): Promise<RetentionPlan> {
  const bases = baseOffsetsOf(await fileSystem.list(folder)).filter((base) => base <= active.baseOffset);
  const deletes = config.cleanupPolicy !== "compact";
  const ageMs = deletes && config.retentionMs !== UNLIMITED ? config.retentionMs : Number.POSITIVE_INFINITY;
  const bytesMax = deletes && config.retentionBytes !== UNLIMITED ? config.retentionBytes : Number.POSITIVE_INFINITY;
  const sizes = bytesMax === Number.POSITIVE_INFINITY ? [] : await sizesOf(fileSystem, folder, bases, active);
  let total = sizes.reduce((sum, bytes) => sum + bytes, 0);
  let againAt = Number.POSITIVE_INFINITY;
  let count = 0;
  for (; count < bases.length; count++) {
    const base = bases[count] as number;
    const isActive = count === bases.length - 1;
    if (isActive && active.bytes === 0) break;
    const belowStart = (isActive ? active.offset : (bases[count + 1] as number)) <= startOffset;
    const tooMuch = total - (sizes[count] ?? 0) >= bytesMax;
    if (!belowStart && !(tooMuch && !isActive)) {
      if (ageMs === Number.POSITIVE_INFINITY) break;
      againAt =
        (await latestTimestampOf(fileSystem, folder, base, isActive ? { bytes: active.bytes } : { nextBase: bases[count + 1] as number })) +
        ageMs +
        1;
      if (againAt > now) break;
    }
    total -= sizes[count] ?? 0;
  }
  const rollActive = count === bases.length && bases.length > 0;
  const remove = bases.slice(0, rollActive ? count - 1 : count);
  return { remove, keepFrom: bases[remove.length] ?? active.baseOffset, rollActive, againAt };
}

async function sizesOf(fileSystem: FileSystem, folder: string, bases: readonly number[], active: ActiveSegment): Promise<number[]> {
  const sizes: number[] = [];
  for (const base of bases) {
    sizes.push(base === active.baseOffset ? active.bytes : ((await fileSystem.stat(path.join(folder, logFileName(base))))?.bytes ?? 0));
  }
  return sizes;
}

/** Where a segment ends: the one that is written at a byte, an older one at an offset. */
type SegmentEnd = { readonly bytes: number } | { readonly nextBase: number };

/** Of all records of a segment: from its time index where the batches agree with it, else from them. Infinity if none can be read. */
export async function latestTimestampOf(fileSystem: FileSystem, folder: string, baseOffset: number, end: SegmentEnd): Promise<number> {
  const confirmed = "bytes" in end ? undefined : await confirmedLatest(fileSystem, folder, baseOffset, end.nextBase);
  return confirmed ?? readLatestTimestamp(fileSystem, folder, baseOffset, end);
}

/** Past what is damaged: it must not make a segment look older than what is left of it. */
async function readLatestTimestamp(fileSystem: FileSystem, folder: string, baseOffset: number, end: SegmentEnd): Promise<number> {
  let latest = Number.NEGATIVE_INFINITY;
  const isWritten = "bytes" in end;
  const file = await fileSystem.open(path.join(folder, logFileName(baseOffset)), "read");
  try {
    const span = isWritten
      ? { from: 0, to: end.bytes, baseOffset, fromOffset: baseOffset, beforeOffset: Number.POSITIVE_INFINITY }
      : { from: 0, to: await file.bytes(), baseOffset, fromOffset: baseOffset, beforeOffset: end.nextBase };
    const visit = (bytes: Buffer, at: number): void => {
      latest = Math.max(latest, maxTimestampAt(bytes, at));
    };
    await scanPastDamage(file, span, !isWritten, visit, () => undefined);
  } finally {
    await file.close();
  }
  return latest === Number.NEGATIVE_INFINITY ? Number.POSITIVE_INFINITY : latest;
}
