/** The `log` section of the configuration. */
import { z } from "zod";

const KiB = 1024;
const MiB = 1024 * KiB;

const whole = (min: number, max: number, fallback: number, description: string): z.ZodDefault<z.ZodInt> =>
  z.int().min(min).max(max).default(fallback).meta({ description });

export const logConfig = z.strictObject({
  sync: z.enum(["always", "interval", "never"]).default("always").meta({
    description: "when a new topic's records are forced to the disk: before they are confirmed, at most sync-interval-ms later, or never",
  }),
  syncIntervalMs: whole(1, 3_600_000, 50, "with sync: interval, what a loss of power may take"),
  partitions: whole(1, 1024, 1, "of a topic that does not say how many"),
  segmentBytes: whole(4 * KiB, 2 ** 31 - 1, 256 * MiB, "a segment file rolls before it would pass this size"),
  retentionMs: whole(
    -1,
    Number.MAX_SAFE_INTEGER,
    -1,
    "a new topic's segments go when their newest record is older; -1: never for their age",
  ),
  retentionBytes: whole(-1, Number.MAX_SAFE_INTEGER, -1, "a new topic's oldest segments go while the others hold this much; -1: never"),
  diskReserveBytes: whole(0, 2 ** 40, 64 * MiB, "topics take nothing while the disk has less than this left"),
  producerIdExpirationMs: whole(
    1000,
    Number.MAX_SAFE_INTEGER,
    24 * 3_600_000,
    "a Kafka producer that appended nothing to a partition for so long is forgotten there",
  ),
  maxMessageBytes: whole(KiB, 256 * MiB, 17 * MiB, "the largest batch, and so the largest record, that a topic takes"),
  pendingBytesMax: whole(64 * KiB, 2 ** 40, 64 * MiB, "bytes published and not yet durable; above it publishers' sockets pause"),
  journalFileBytes: whole(MiB, 2 ** 31 - 1, 64 * MiB, "size of each file of the queues' journal"),
  journalBytesMax: whole(
    3 * MiB,
    2 ** 40,
    512 * MiB,
    "of the journal's files together (three at least): what a start after a crash has to read",
  ),
});

export type LogConfig = z.output<typeof logConfig>;

/** For topics that don't say it themselves. */
export function topicDefaults(config: LogConfig) {
  const { partitions, sync, syncIntervalMs, segmentBytes, maxMessageBytes, retentionMs, retentionBytes } = config;
  return {
    partitions,
    segmentBytes,
    maxMessageBytes,
    retentionMs,
    retentionBytes,
    sync: sync === "interval" ? { kind: sync, ms: syncIntervalMs } : { kind: sync },
  };
}

export function journalOptions({ journalFileBytes, journalBytesMax }: LogConfig): {
  readonly fileBytes: number;
  readonly bytesMax: number;
} {
  return { fileBytes: journalFileBytes, bytesMax: journalBytesMax };
}
