/** Batches as they lie in a compacted log: also those of which no record stayed. */
import type { PartitionReader } from "../../src/log/contract/partitionedLog.ts";
import { batchPositions, endOffsetOf, records } from "../../src/record/batch.ts";
import { baseOffsetAt, baseSequenceAt, batchBytesAt, lastOffsetAt, producerEpochAt, producerIdAt } from "../../src/record/batchHeader.ts";
import { isControlAt, isTransactionalAt, markerAt } from "../../src/record/controlBatch.ts";
import type { StoredRecord } from "../../src/record/record.ts";
import { demand } from "./violation.ts";
import { codeOf } from "./world.ts";

export interface KeyedBatch {
  readonly base: number;
  readonly next: number;
  /** The id as text. */
  readonly producer: string;
  readonly epoch: number;
  readonly sequence: number;
  readonly isMarker: boolean;
  readonly isTransactional: boolean;
  readonly outcome: "commit" | "abort" | undefined;
  readonly records: readonly StoredRecord[];
}

export function batchesOf(bytes: Buffer): KeyedBatch[] {
  return [...batchPositions(bytes)].map((at) => {
    const batch = bytes.subarray(at, at + batchBytesAt(bytes, at));
    const isMarker = isControlAt(batch, 0);
    return {
      base: baseOffsetAt(batch, 0),
      next: lastOffsetAt(batch, 0) + 1,
      producer: String(producerIdAt(batch, 0)),
      epoch: producerEpochAt(batch, 0),
      sequence: baseSequenceAt(batch, 0),
      isMarker,
      isTransactional: isTransactionalAt(batch, 0),
      outcome: isMarker ? markerAt(batch, 0)?.outcome : undefined,
      records: isMarker ? [] : [...records(batch)],
    };
  });
}

/** From the offset to where the end was when it began. `tolerated`: a read that fails so is passed over. */
export async function readBatches(
  reader: PartitionReader,
  from: number,
  tolerated: (error: unknown) => boolean = () => false,
): Promise<KeyedBatch[]> {
  const found: KeyedBatch[] = [];
  const end = reader.highWatermark();
  for (let next = from; next < end; ) {
    let bytes: Buffer;
    try {
      bytes = await reader.read(next, 4096);
    } catch (error) {
      if (codeOf(error) === "OFFSET_OUT_OF_RANGE" && reader.startOffset() > next) {
        next = reader.startOffset(); // retention goes on meanwhile
        found.length = 0;
        continue;
      }
      if (!tolerated(error)) throw error;
      next++;
      continue;
    }
    const after = endOffsetOf(bytes);
    demand(after !== undefined && after > next, () => `nothing is read at ${next}, below the end at ${end}`);
    const last = found.at(-1)?.next ?? 0;
    found.push(...batchesOf(bytes).filter(({ base }) => base >= last));
    next = after;
  }
  return found;
}
