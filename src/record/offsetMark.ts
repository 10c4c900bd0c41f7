/**
 * The checksum of a batch's base offset, which the batch's own CRC leaves out. It lies in the header's partitionLeaderEpoch, which the CRC
 * leaves out as well and a log without leaders has no use for: on the disk only, whoever reads a batch gets 0 there. 0 on the disk: a
 * batch of an older release, which has none.
 *
 * An odd factor maps the 32 bits of either half of an offset one to one: whatever changes in one half changes the checksum.
 */
import { MillraceError } from "../base/errors.ts";
import { BatchField, baseOffsetAt } from "./batchHeader.ts";

const LOW_FACTOR = 0x9e3779b1;
const HIGH_FACTOR = 0x85ebca77;

const markOf = (bytes: Buffer, at: number): number =>
  (Math.imul(bytes.readInt32BE(at + 4), LOW_FACTOR) ^ Math.imul(bytes.readInt32BE(at) + 1, HIGH_FACTOR)) | 0;

/** For a batch that has its offset and goes to the disk. */
export function markOffset(bytes: Buffer, at: number): void {
  bytes.writeInt32BE(markOf(bytes, at), at + BatchField.partitionLeaderEpoch);
}

/** Has it such a checksum? */
export const isOffsetMarked = (bytes: Buffer, at: number): boolean => bytes.readInt32BE(at + BatchField.partitionLeaderEpoch) !== 0;

/** For a batch that was read. */
export function clearOffsetMark(bytes: Buffer, at: number): void {
  bytes.writeInt32BE(0, at + BatchField.partitionLeaderEpoch);
}

/** BATCH_CORRUPT if the batch, whose header lies in `bytes` as it was read, has another offset than it was written with. */
export function offsetProblem(bytes: Buffer, at: number): MillraceError | undefined {
  const mark = bytes.readInt32BE(at + BatchField.partitionLeaderEpoch);
  if (mark === 0 || mark === markOf(bytes, at)) return undefined;
  return new MillraceError(
    "BATCH_CORRUPT",
    `A record batch is damaged: its base offset is ${baseOffsetAt(bytes, at)}, and its checksum says another.`,
    {
      domain: "external",
      where: `byte ${at}`,
    },
  );
}
