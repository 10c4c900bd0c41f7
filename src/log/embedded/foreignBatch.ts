import { crc32cRange } from "../../base/crc32c.ts";
import { MillraceError } from "../../base/errors.ts";
import {
  attributesAt,
  BatchAttribute,
  BatchField,
  baseSequenceAt,
  batchBytesAt,
  CRC_COVERS_FROM,
  countAt,
  producerEpochAt,
  producerIdAt,
  writeInt64,
} from "../../record/batchHeader.ts";
import { checkNewBatch } from "../../record/validateBatch.ts";
import type { TopicConfig } from "../contract/partitionedLog.ts";
import { tooLarge } from "./partitionErrors.ts";
import type { ProducerClaim } from "./producerState.ts";

/** What the log needs of a producer's batch, without its records. */
export interface ForeignBatch {
  readonly count: number;
  /** Undefined: without idempotence. */
  readonly claim: ProducerClaim | undefined;
  readonly baseSequence: number;
}

/** Throws what is wrong with it. */
export function admitBatch(batch: Buffer, config: TopicConfig, where: string): ForeignBatch {
  if (batch.length > config.maxMessageBytes) throw tooLarge(where, batch.length, config.maxMessageBytes);
  checkNewBatch(batch);
  if ((attributesAt(batch, 0) & BatchAttribute.transactional) !== 0) throw transactional(where);
  const id = producerIdAt(batch, 0);
  const claim = id < 0n ? undefined : { id, epoch: producerEpochAt(batch, 0), called: String(id) };
  return { count: countAt(batch, 0), claim, baseSequence: baseSequenceAt(batch, 0) };
}

/** Writes into the batch where it lies and, if `appendTime` is given, when it came; the latter needs another checksum. */
export function stampBatch(batch: Buffer, baseOffset: number, appendTime: number | undefined): void {
  writeInt64(batch, BatchField.baseOffset, baseOffset);
  batch.writeInt32BE(0, BatchField.partitionLeaderEpoch);
  if (appendTime === undefined) return;
  batch.writeInt16BE(attributesAt(batch, 0) | BatchAttribute.logAppendTime, BatchField.attributes);
  writeInt64(batch, BatchField.maxTimestamp, appendTime);
  batch.writeUInt32BE(crc32cRange(batch, CRC_COVERS_FROM, batchBytesAt(batch, 0)), BatchField.crc);
}

/** Without markers an aborted transaction could be read like any other. */
const transactional = (where: string): MillraceError =>
  new MillraceError("TRANSACTIONS_UNSUPPORTED", "A batch is part of a transaction, and this log keeps none yet.", {
    domain: "user",
    where,
    hint: "Produce without transactional.id; enable.idempotence works.",
  });
