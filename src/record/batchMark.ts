/**
 * What the log itself has to say of a batch on the disk, in the header's partitionLeaderEpoch: the batch's CRC leaves that out, and a log
 * without leaders has no use for it. Whoever reads a batch gets 0 there. 0 on the disk: a batch of an older release, of which nothing is
 * said.
 *
 *     bits 31 to 1   checksum of the base offset, which the batch's CRC leaves out as well
 *     bit 0          when the batch was written, everything before it in its segment was synced
 *
 * An odd factor maps the 32 bits of either half of an offset one to one: a bit that flips in one half changes the checksum.
 */
import { MillraceError } from "../base/errors.ts";
import { BatchField, baseOffsetAt } from "./batchHeader.ts";

const LOW_FACTOR = 0x9e3779b1;
const HIGH_FACTOR = 0x85ebca77;

const SYNCED_BEFORE = 1;

const checksumOf = (bytes: Buffer, at: number): number =>
  (Math.imul(bytes.readInt32BE(at + 4), LOW_FACTOR) ^ Math.imul(bytes.readInt32BE(at) + 1, HIGH_FACTOR)) & ~SYNCED_BEFORE;

const markAt = (bytes: Buffer, at: number): number => bytes.readInt32BE(at + BatchField.partitionLeaderEpoch);

/** For a batch that has its offset and goes to the disk. */
export function markBatch(bytes: Buffer, at: number, syncedBefore: boolean): void {
  bytes.writeInt32BE(checksumOf(bytes, at) | (syncedBefore ? SYNCED_BEFORE : 0), at + BatchField.partitionLeaderEpoch);
}

/** Does the batch, as it was read, say that everything before it in its segment was synced when it was written? */
export const saysSyncedBefore = (bytes: Buffer, at: number): boolean => markAt(bytes, at) === (checksumOf(bytes, at) | SYNCED_BEFORE);

/** Does it have a checksum of its base offset, and is it the one of this offset? */
export function hasOwnOffset(bytes: Buffer, at: number): boolean {
  const mark = markAt(bytes, at);
  return mark !== 0 && (mark & ~SYNCED_BEFORE) === checksumOf(bytes, at);
}

/** Is anything said of it? */
export const isMarked = (bytes: Buffer, at: number): boolean => markAt(bytes, at) !== 0;

/** For a batch that was read. */
export function clearMark(bytes: Buffer, at: number): void {
  bytes.writeInt32BE(0, at + BatchField.partitionLeaderEpoch);
}

/** BATCH_CORRUPT if the batch, whose header lies in `bytes` as it was read, has another offset than it was written with. */
export function offsetProblem(bytes: Buffer, at: number): MillraceError | undefined {
  if (!isMarked(bytes, at) || hasOwnOffset(bytes, at)) return undefined;
  return new MillraceError(
    "BATCH_CORRUPT",
    `A record batch is damaged: its base offset is ${baseOffsetAt(bytes, at)}, and its checksum says another.`,
    {
      domain: "external",
      where: `byte ${at}`,
    },
  );
}
