/**
 * Where a segment goes on behind a bad batch. In this order:
 *
 *   1. The bad batch's own length leads to a whole batch: so it does for every bit that flips outside of the length.
 *   2. A whole batch up to which the bad one's checksum is right: then only what the checksum leaves out is bad, the length for one. It is
 *      looked for if there is something left of that.
 *   3. The first whole batch behind the bytes that the bad one claims, if its header can be believed; else the first at all.
 *
 * A whole batch is one whose shape, checksum and checksum of the offset are right, and whose offset comes after what is known to be
 * before it. What lies within the bytes that a believable header claims is not taken but by (2): a client's bytes can be made to look like
 * batches, and the one that they came in may be torn. If there is nothing else it is not clear where it goes on. So such bytes are taken
 * for batches only where the header of the very batch that they came in is damaged or missing, or its checksum is forged for it.
 */
import { MillraceError } from "../../../base/errors.ts";
import type { File } from "../../../base/fileSystem.ts";
import { BATCH_HEADER_BYTES, BATCH_MAGIC, BatchField, baseOffsetAt, batchBytesAt, CRC_COVERS_FROM } from "../../../record/batchHeader.ts";
import { hasOwnOffset } from "../../../record/batchMark.ts";
import { validateBatchShape } from "../../../record/validateBatch.ts";
import { type Lookalike, Lookalikes, type OffsetRange, RunningCrc, readHeader, type SearchBudget, unlessUnclear } from "./lookalikes.ts";

/** A bad batch is followed by its checksum up to here: a larger one whose length is damaged is left to (3). */
const CHECKSUM_BYTES_MAX = 32 * 1024 * 1024;

/** Where a batch begins. */
export interface BatchPlace {
  readonly position: number;
  readonly offset: number;
}

/**
 * Throws LOG_CORRUPT if that is not clear, or not within the budget.
 * @param bad where the bad batch begins.
 * @param offsets what the base offset of a batch behind it can be.
 */
export async function placeBehind(
  file: File,
  bad: number,
  to: number,
  offsets: OffsetRange,
  budget: SearchBudget,
): Promise<BatchPlace | undefined> {
  const search = new Lookalikes(file, to, offsets, budget);
  const misplaced = await search.at(bad); // a good one, but for what is missing before it
  if (misplaced !== undefined) return placeOf(misplaced);
  const header = await readHeader(file, bad, to);
  if (header === undefined) return undefined;
  const claimed = bad + batchBytesAt(header, 0);
  const follower = claimed <= bad ? undefined : await search.at(claimed);
  if (follower !== undefined) return placeOf(follower);
  const first = await firstBehind(file, bad, search, header, hasRightFields(header, offsets.from), budget);
  const isBelievable = hasOwnOffset(header, 0) && validateBatchShape(header, 0, BATCH_HEADER_BYTES) === undefined;
  if (first === undefined || first.isProven || !isBelievable || first.found.position >= claimed) return first && placeOf(first.found);
  const behindClaimed = await firstFrom(search, claimed, budget);
  if (behindClaimed === undefined) throw withinClaimed(first.found.position);
  return placeOf(behindClaimed);
}

const withinClaimed = (position: number): MillraceError =>
  new MillraceError("LOG_CORRUPT", "What looks like a batch lies within one that is bad: it may be a part of it.", {
    domain: "external",
    where: `byte ${position}`,
  });

/** Is there something left of what the checksum leaves out? Not if the sector is gone. Its own offset is just before the ones behind it. */
const hasRightFields = (header: Buffer, lowestBehind: number): boolean =>
  header[BatchField.magic] === BATCH_MAGIC || hasOwnOffset(header, 0) || [0, 1].includes(lowestBehind - baseOffsetAt(header, 0));

/** The first whole batch behind the bad one; or, if `mayBeProven`, a later one up to which the bad one's checksum is right. */
async function firstBehind(
  file: File,
  bad: number,
  search: Lookalikes,
  header: Buffer,
  mayBeProven: boolean,
  budget: SearchBudget,
): Promise<{ readonly found: Lookalike; readonly isProven: boolean } | undefined> {
  const crc = new RunningCrc(file, bad + CRC_COVERS_FROM);
  const expected = header.readUInt32BE(BatchField.crc);
  const provenUpTo = mayBeProven ? bad + CHECKSUM_BYTES_MAX : bad;
  let first: Lookalike | undefined;
  let searchedTo = bad;
  const isOver = (position: number): boolean => first !== undefined && position > provenUpTo;
  for await (const found of search.from(bad + 1, isOver)) {
    const { position } = found;
    if (first !== undefined && (position > provenUpTo || !budget.searchesOn(position - searchedTo))) break;
    searchedTo = position;
    const isNear = position > bad + CRC_COVERS_FROM && position <= provenUpTo;
    if (isNear && (await crc.upTo(position)) === expected && (await search.isWhole(found))) return { found, isProven: true };
    if (first === undefined && (await search.isWhole(found))) first = found;
    if (isOver(position)) break;
  }
  return first && { found: first, isProven: false };
}

async function firstFrom(search: Lookalikes, from: number, budget: SearchBudget): Promise<Lookalike | undefined> {
  let searchedTo = from;
  for await (const found of search.from(from)) {
    if (await search.isWhole(found)) return found;
    if (!budget.searchesOn(found.position - searchedTo)) return undefined;
    searchedTo = found.position;
  }
  return undefined;
}

const placeOf = ({ position, header }: Lookalike): BatchPlace => ({ position, offset: baseOffsetAt(header, 0) });

/** placeBehind, but undefined as well if that is not clear. */
export const clearPlaceBehind = (
  file: File,
  bad: number,
  to: number,
  offsets: OffsetRange,
  budget: SearchBudget,
): Promise<BatchPlace | undefined> => unlessUnclear(placeBehind(file, bad, to, offsets, budget), undefined);
