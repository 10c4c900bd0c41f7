import { attributesAt, BATCH_HEADER_BYTES, BatchAttribute, baseOffsetAt, batchBytesAt, producerIdAt } from "../../../record/batchHeader.ts";
import { isControlAt, isTransactionalAt } from "../../../record/controlBatch.ts";
import { emptyBatchAt } from "../../../record/emptyBatch.ts";
import type { AbortedRanges } from "../transactions/abortedRanges.ts";

/** Is the batch a marker, or part of a transaction? */
export const touchesTransactions = (bytes: Buffer, at: number): boolean =>
  (attributesAt(bytes, at) & (BatchAttribute.transactional | BatchAttribute.control)) !== 0;

/** Is the batch one that nobody who reads committed records may see? */
export function isHidden(bytes: Buffer, at: number, aborted: AbortedRanges): boolean {
  if (isControlAt(bytes, at)) return true;
  if (!isTransactionalAt(bytes, at)) return false;
  return aborted.has(producerIdAt(bytes, at), baseOffsetAt(bytes, at));
}

/**
 * Empties the hidden ones of whole batches that lie back to back in the first `length` bytes, where they lie. Returns how many are left.
 */
export function onlyCommitted(bytes: Buffer, length: number, aborted: AbortedRanges): number {
  let end = 0;
  for (let at = 0; at < length; ) {
    const next = at + batchBytesAt(bytes, at);
    let last = next;
    if (isHidden(bytes, at, aborted)) {
      emptyBatchAt(bytes, at);
      last = at + BATCH_HEADER_BYTES;
    }
    if (end !== at) bytes.copyWithin(end, at, last);
    end += last - at;
    at = next;
  }
  return end;
}
