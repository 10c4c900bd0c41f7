import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { PartitionReader } from "../../src/log/contract/partitionedLog.ts";
import { batchPositions, endOffsetOf, records } from "../../src/record/batch.ts";
import { BatchBuilder } from "../../src/record/batchBuilder.ts";
import {
  attributesAt,
  BatchAttribute,
  baseOffsetAt,
  batchBytesAt,
  countAt,
  lastOffsetAt,
  producerEpochAt,
  producerIdAt,
} from "../../src/record/batchHeader.ts";
import { isControlAt, markerAt } from "../../src/record/controlBatch.ts";
import { validateBatch } from "../../src/record/validateBatch.ts";
import { record } from "./support.ts";

export interface FromProducer {
  readonly id: number;
  readonly epoch: number;
  readonly sequence: number;
}

/** As a client encodes it. */
export function producerBatch(values: readonly string[], { id, epoch, sequence }: FromProducer, transactional: boolean): Buffer {
  const builder = new BatchBuilder();
  values.forEach((value, i) => builder.append(record(value), i));
  builder.endBatch({ id: BigInt(id), epoch, baseSequence: sequence }, transactional ? BatchAttribute.transactional : 0);
  return Buffer.from(builder.bytes());
}

export const end = (topic: EmbeddedTopic, outcome: "commit" | "abort", id: number, epoch = 0, coordinatorEpoch = 1): Promise<number> =>
  topic.endTransaction(0, { producerId: BigInt(id), epoch, coordinatorEpoch, outcome });

/** One line a batch: "5-7 p1.0 tx: a b c" or "8 p1.0 commit". */
export async function batchesFrom(reader: PartitionReader, from: number, bytesMax = 1 << 16): Promise<string[]> {
  const lines: string[] = [];
  for (let next = from; next < reader.highWatermark(); ) {
    const bytes = await reader.read(next, bytesMax);
    const after = endOffsetOf(bytes);
    if (after === undefined || after <= next) throw new Error(`nothing at ${next}, below the high watermark`);
    for (const at of batchPositions(bytes)) {
      const problem = validateBatch(bytes, at, bytes.length);
      if (problem !== undefined) throw problem;
      lines.push(batchLine(bytes, at));
    }
    next = after;
  }
  return lines;
}

function batchLine(bytes: Buffer, at: number): string {
  const [first, last, id] = [baseOffsetAt(bytes, at), lastOffsetAt(bytes, at), producerIdAt(bytes, at)];
  const offsets = first === last ? `${first}` : `${first}-${last}`;
  const producer = id < 0n ? "" : ` p${id}.${producerEpochAt(bytes, at)}`;
  if (isControlAt(bytes, at)) return `${offsets}${producer} ${markerAt(bytes, at)?.outcome ?? "marker of nothing"}`;
  if (countAt(bytes, at) === 0) return `${offsets} empty`;
  const transactional = (attributesAt(bytes, at) & BatchAttribute.transactional) !== 0 ? " tx" : "";
  const values = [...records(bytes.subarray(at, at + batchBytesAt(bytes, at)))].map(({ value }) => String(value));
  return `${offsets}${producer}${transactional}: ${values.join(" ")}`;
}

/** The records that a reader gives, with their offsets. */
export async function recordsFrom(reader: PartitionReader, from: number, bytesMax = 1 << 16): Promise<[offset: number, value: string][]> {
  const all: [number, string][] = [];
  for (let next = from; next < reader.highWatermark(); ) {
    const bytes = await reader.read(next, bytesMax);
    const after = endOffsetOf(bytes);
    if (after === undefined || after <= next) throw new Error(`nothing at ${next}, below the high watermark`);
    for (const { offset, value } of records(bytes)) if (offset >= next) all.push([offset, String(value)]);
    next = after;
  }
  return all;
}
