/**
 * Where a segment goes on behind a bad batch. In this order:
 *
 *   1. The bad batch's own length leads to a whole batch: so it does for every bit that flips outside of the length.
 *   2. A whole batch up to which the bad one's checksum is right: then only what the checksum leaves out is bad, the length for one.
 *   3. The first whole batch behind the bytes that the bad one claims, if its header can be believed; else, or without one there, the
 *      first at all.
 *
 * A whole batch is one whose shape, checksum and checksum of the offset are right, and whose offset comes after what is known to be
 * before it. A client's bytes that are made to look like one can be taken for one by (3) only: where the header of the very batch that
 * they came in is damaged together with what its checksum covers.
 */
import type { File } from "../../../base/fileSystem.ts";
import { BATCH_HEADER_BYTES, BatchField, baseOffsetAt, batchBytesAt, CRC_COVERS_FROM } from "../../../record/batchHeader.ts";
import { hasOwnOffset } from "../../../record/batchMark.ts";
import { validateBatchShape } from "../../../record/validateBatch.ts";
import { CheckBudget, type Lookalike, Lookalikes, type OffsetRange, RunningCrc, readHeader, unlessUnclear } from "./lookalikes.ts";

/** A bad batch is followed by its checksum up to here: a larger one whose length is damaged is left to (3). */
const CHECKSUM_BYTES_MAX = 32 * 1024 * 1024;

/** Where a batch begins. */
export interface BatchPlace {
  readonly position: number;
  readonly offset: number;
}

/**
 * Throws LOG_CORRUPT if that cannot be said within the budget.
 * @param bad where the bad batch begins.
 * @param offsets what the base offset of a batch behind it can be.
 */
export async function placeBehind(
  file: File,
  bad: number,
  to: number,
  offsets: OffsetRange,
  budget = new CheckBudget(to - bad),
): Promise<BatchPlace | undefined> {
  const search = new Lookalikes(file, to, offsets, budget);
  const misplaced = await search.at(bad); // a good one, but for what is missing before it
  if (misplaced !== undefined) return placeOf(misplaced);
  const header = await readHeader(file, bad, to);
  const claimed = header && bad + batchBytesAt(header, 0);
  const follower = claimed === undefined || claimed <= bad ? undefined : await search.at(claimed);
  if (follower !== undefined) return placeOf(follower);
  const isBelievable = header !== undefined && hasOwnOffset(header, 0) && validateBatchShape(header, 0, BATCH_HEADER_BYTES) === undefined;
  const found = await firstBehind(file, bad, search, header, isBelievable ? claimed : undefined);
  return found && placeOf(found);
}

async function firstBehind(
  file: File,
  bad: number,
  search: Lookalikes,
  header: Buffer | undefined,
  claimed: number | undefined,
): Promise<Lookalike | undefined> {
  const crc = new RunningCrc(file, bad + CRC_COVERS_FROM);
  const expected = header?.readUInt32BE(BatchField.crc);
  let first: Lookalike | undefined;
  let behindClaimed: Lookalike | undefined;
  for await (const found of search.from(bad + 1)) {
    const { position } = found;
    const isNear = position - bad <= CHECKSUM_BYTES_MAX;
    if (isNear && position > bad + CRC_COVERS_FROM && (await crc.upTo(position)) === expected && (await search.isWhole(found)))
      return found;
    const wanted = first === undefined || (behindClaimed === undefined && claimed !== undefined && position >= claimed);
    if (wanted && (await search.isWhole(found))) {
      first ??= found;
      if (claimed === undefined || position >= claimed) behindClaimed ??= found;
    }
    if (behindClaimed !== undefined && !isNear) break;
  }
  return behindClaimed ?? first;
}

const placeOf = ({ position, header }: Lookalike): BatchPlace => ({ position, offset: baseOffsetAt(header, 0) });

/** placeBehind, but undefined as well if that is not clear. */
export const clearPlaceBehind = (file: File, bad: number, to: number, offsets: OffsetRange): Promise<BatchPlace | undefined> =>
  unlessUnclear(placeBehind(file, bad, to, offsets), undefined);
