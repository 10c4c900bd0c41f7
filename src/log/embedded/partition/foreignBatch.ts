import { crc32cRange } from "../../../base/crc32c.ts";
import { MillraceError } from "../../../base/errors.ts";
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
} from "../../../record/batchHeader.ts";
import { isTransactionalAt } from "../../../record/controlBatch.ts";
import { checkNewBatch } from "../../../record/validateBatch.ts";
import type { TopicConfig } from "../../contract/partitionedLog.ts";
import { isNamed, type ProducerClaim } from "../producers/producerState.ts";
import { tooLarge } from "./partitionErrors.ts";

/** What the log needs of a producer's batch, without its records. */
export interface ForeignBatch {
  readonly count: number;
  /** Undefined: without idempotence. */
  readonly claim: ProducerClaim | undefined;
  readonly baseSequence: number;
  readonly transactional: boolean;
}

/**
 * Throws what is wrong with it.
 * @param check checkNewBatch, or less of it
 */
export function admitBatch(batch: Buffer, config: TopicConfig, where: string, check = checkNewBatch): ForeignBatch {
  if (batch.length > config.maxMessageBytes) throw tooLarge(where, batch.length, config.maxMessageBytes);
  check(batch);
  const id = producerIdAt(batch, 0);
  if (id >= 0n && isNamed(id)) throw reservedId(where, id);
  const claim = id < 0n ? undefined : { id, epoch: producerEpochAt(batch, 0), called: String(id) };
  return { count: countAt(batch, 0), claim, baseSequence: baseSequenceAt(batch, 0), transactional: isTransactionalAt(batch, 0) };
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

/** Else somebody could fence a pipeline, or fill the memory with producers that never expire. */
const reservedId = (where: string, id: bigint): MillraceError =>
  new MillraceError("PRODUCER_ID_RESERVED", `A batch has the producer id ${id}; those from 2^62 on stand for names.`, {
    domain: "user",
    where,
    hint: "Ask for an id with InitProducerId.",
  });
