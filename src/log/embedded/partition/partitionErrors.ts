import { assert, MillraceError } from "../../../base/errors.ts";
import type { TransactionEnd } from "../../contract/embeddedLog.ts";
import type { ProducerIdentity, TopicConfig } from "../../contract/partitionedLog.ts";

/** int16 and int32 in the format. */
const EPOCH_MAX = 32767;
const SEQUENCE_MAX = 2147483647;

export const closedError = (where: string): MillraceError =>
  new MillraceError("LOG_CLOSED", "The log is closed.", { domain: "external", where });

export const deletedError = (where: string): MillraceError =>
  new MillraceError("TOPIC_DELETED", "The topic was deleted.", {
    domain: "user",
    where,
    hint: "Create it again to go on; its records are gone.",
  });

export const failedError = (where: string, cause: unknown): MillraceError =>
  new MillraceError("LOG_FAILED", "A write to the partition failed; what was in flight is kept whole, or once, or never: nobody knows.", {
    domain: "external",
    retryable: true,
    where,
    cause,
    hint: "Look after the disk; the partition tries again by itself. What was confirmed before is there and can be read.",
  });

export const notOpened = (where: string, cause: unknown): MillraceError =>
  new MillraceError("LOG_NOT_OPENED", "The files of the partition could not be opened: nothing was appended.", {
    domain: "external",
    retryable: true,
    where,
    cause,
    hint: "Send it again. If the process has too many files open (EMFILE), raise its limit (ulimit -n); else look after the disk.",
  });

export const readFailed = (where: string, cause: unknown): MillraceError =>
  new MillraceError("LOG_READ_FAILED", "The disk failed to read a part of the log.", {
    domain: "external",
    retryable: true,
    where,
    cause,
    hint: "Look after the disk. The other partitions go on.",
  });

export const segmentCorrupt = (file: string, position: number, cause: unknown, readableFrom?: number): MillraceError =>
  new MillraceError("LOG_CORRUPT", "A segment of the log is damaged.", {
    domain: "external",
    where: `${file} at byte ${position}`,
    cause,
    hint: `Bring the partition's folder back from a backup; the offsets before it can be read${readableFrom === undefined ? "" : `, and those from ${readableFrom} on`}.`,
    readableFrom,
  });

export const outOfRange = (where: string, offset: number, startOffset: number, highWatermark: number, cause?: unknown): MillraceError =>
  new MillraceError(
    "OFFSET_OUT_OF_RANGE",
    `Offset ${offset} cannot be read: ${startOffset} is the first one kept, and ${highWatermark} the next one to come.`,
    { domain: "user", where, cause, hint: "Read from an offset between these two, or search by time." },
  );

/** Kafka's POLICY_VIOLATION: what a compacted topic keeps is decided by key, not by age. */
export function checkDeletes({ cleanupPolicy }: TopicConfig, where: string): void {
  if (cleanupPolicy !== "compact") return;
  throw new MillraceError("POLICY_VIOLATION", "Records of a topic that is only compacted can't be deleted by offset.", {
    domain: "user",
    where,
    hint: 'Append a record without value for each key that shall go, or create the topic with cleanup.policy "compact,delete".',
  });
}

export const tooLarge = (where: string, bytes: number, bytesMax: number): MillraceError =>
  new MillraceError("RECORD_TOO_LARGE", `A batch of ${bytes} bytes is above the ${bytesMax} bytes that the topic takes.`, {
    domain: "user",
    where,
    hint: "Send less at a time, or create the topic with a larger max-message-bytes.",
  });

/** Bugs of a coordinator. */
export function checkTransactionEnd({ producerId, epoch, coordinatorEpoch }: TransactionEnd, where: string): void {
  assert(producerId >= 0n && producerId < 2n ** 63n, `${where}: a producer id is an int64 from 0 on, not ${producerId}`);
  assert(Number.isInteger(epoch) && epoch >= 0 && epoch <= EPOCH_MAX, `${where}: an epoch is 0 to ${EPOCH_MAX}, not ${epoch}`);
  assert(
    Number.isInteger(coordinatorEpoch) && coordinatorEpoch >= 0 && coordinatorEpoch <= SEQUENCE_MAX,
    `${where}: a coordinator's epoch is an int32 from 0 on`,
  );
}

export function checkIdentity(producer: ProducerIdentity, sequence: number, count: number, where: string): void {
  if (!Number.isInteger(producer.epoch) || producer.epoch < 0 || producer.epoch > EPOCH_MAX) {
    throw new MillraceError("PRODUCER_EPOCH_INVALID", `Producer "${producer.name}" has epoch ${producer.epoch}; it is 0 to ${EPOCH_MAX}.`, {
      domain: "internal",
      where,
    });
  }
  if (!Number.isInteger(sequence) || sequence < 0 || sequence + count - 1 > SEQUENCE_MAX) {
    throw new MillraceError("SEQUENCE_EXHAUSTED", `Sequence ${sequence} and ${count} records do not fit into 0 to ${SEQUENCE_MAX}.`, {
      domain: "internal",
      where,
      hint: "Begin the next epoch.",
    });
  }
}
