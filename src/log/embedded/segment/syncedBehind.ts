import type { File } from "../../../base/fileSystem.ts";
import { BATCH_HEADER_BYTES, BATCH_MAGIC, BatchField } from "../../../record/batchHeader.ts";
import { saysSyncedBefore } from "../../../record/batchMark.ts";
import { scanSegment } from "./segmentScan.ts";

/** At a time. */
const SEARCH_BYTES = 1024 * 1024;

/**
 * Were the bad bytes at `from` synced once? Then they are damage; else they may be the torn end of what was never synced. A whole batch
 * behind them can say so: that everything before it was synced when it was written. The last write cannot, and looks the same torn or
 * damaged.
 *
 * Batches are looked for at every byte, as bad bytes say nothing of where the next one begins. A client's bytes that are made to look like
 * one can have a torn end taken for damage, never the other way round.
 */
export async function isSyncedBehind(file: File, from: number, to: number): Promise<boolean> {
  return (await findWholeBatch(file, from, to, saysSyncedBefore)) !== undefined;
}

/** Where the first whole batch behind `from` begins, of those whose header `mayBe` lets pass; it was asked about that one last. */
export async function findWholeBatch(
  file: File,
  from: number,
  to: number,
  mayBe: (bytes: Buffer, at: number) => boolean,
): Promise<number | undefined> {
  const buffer = Buffer.allocUnsafeSlow(Math.max(BATCH_HEADER_BYTES, Math.min(SEARCH_BYTES, to - from)));
  for (let start = from + 1; to - start >= BATCH_HEADER_BYTES; ) {
    const length = await file.read(buffer, 0, Math.min(buffer.length, to - start), start);
    const positions = length - BATCH_HEADER_BYTES + 1;
    if (positions <= 0) return undefined;
    for (let at = 0; at < positions; at++) {
      if (buffer[at + BatchField.magic] === BATCH_MAGIC && mayBe(buffer, at) && (await isWhole(file, start + at, to))) return start + at;
    }
    start += positions;
  }
  return undefined;
}

async function isWhole(file: File, at: number, to: number): Promise<boolean> {
  let whole = false;
  await scanSegment(file, at, to, true, () => {
    whole = true;
    return "stop";
  });
  return whole;
}
