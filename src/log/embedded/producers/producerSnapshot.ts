/**
 * The producers of a partition as of an offset, in `<offset>.snapshot`: JSON with a version and a CRC,
 *
 *   { "version": 3, "crc32c": <of the producers' JSON>,
 *     "producers": [{ "id", "epoch", "appendedAt", "batches": [[firstSequence, lastSequence, baseOffset]],
 *                     "coordinatorEpoch": -1 if none, "open": first offset of the open transaction, or -1 }] }
 *
 * The batches in the log carry the same facts, so a snapshot only spares reading older segments. Version 2 had a record's timestamp in
 * place of `appendedAt`, and knew no transactions; one of version 1 knew no offsets and is not read.
 */
import { crc32c } from "../../../base/crc32c.ts";
import { MillraceError } from "../../../base/errors.ts";
import type { Producer } from "./producerState.ts";

const SNAPSHOT_VERSION = 3;
const VERSION_WITHOUT_TRANSACTIONS = 2;
const NONE = -1;

interface StoredProducer {
  readonly id: string;
  readonly epoch: number;
  readonly appendedAt?: number;
  readonly batches: readonly [number, number, number][];
  readonly coordinatorEpoch?: number;
  readonly open?: number;
}

interface Snapshot {
  readonly version: number;
  readonly crc32c: number;
  readonly producers: readonly StoredProducer[];
}

export function encodeProducers(producers: ReadonlyMap<bigint, Producer>): Buffer {
  const stored = [...producers].map(([id, { epoch, appendedAt, batches, coordinatorEpoch, openFrom }]): StoredProducer => {
    const kept = batches.map((batch): [number, number, number] => [batch.firstSequence, batch.lastSequence, batch.baseOffset]);
    return { id: String(id), epoch, appendedAt, batches: kept, coordinatorEpoch, open: openFrom ?? NONE };
  });
  const json = JSON.stringify(stored);
  return Buffer.from(`{"version":${SNAPSHOT_VERSION},"crc32c":${crc32c(Buffer.from(json))},"producers":${json}}\n`);
}

/**
 * Undefined: damaged or old, to be rebuilt from the log. A newer version is refused.
 * @param now for what an older version does not say: when a producer appended last.
 */
export function decodeProducers(bytes: Buffer, where: string, now: number): Map<bigint, Producer> | undefined {
  let snapshot: Snapshot;
  try {
    snapshot = JSON.parse(bytes.toString()) as Snapshot;
  } catch {
    return undefined;
  }
  if (snapshot.version > SNAPSHOT_VERSION) {
    throw new MillraceError(
      "FORMAT_TOO_NEW",
      `A producer snapshot has version ${snapshot.version}; this release reads up to ${SNAPSHOT_VERSION}.`,
      { domain: "user", where, hint: "Start the release that wrote it, or a later one." },
    );
  }
  if (snapshot.version !== SNAPSHOT_VERSION && snapshot.version !== VERSION_WITHOUT_TRANSACTIONS) return undefined;
  if (crc32c(Buffer.from(JSON.stringify(snapshot.producers) ?? "")) !== snapshot.crc32c) return undefined;
  return new Map(
    snapshot.producers.map(({ id, epoch, appendedAt = now, batches, coordinatorEpoch = NONE, open = NONE }) => {
      const kept = batches.map(([firstSequence, lastSequence, baseOffset]) => ({ firstSequence, lastSequence, baseOffset }));
      return [BigInt(id), { epoch, appendedAt, batches: kept, coordinatorEpoch, openFrom: open === NONE ? undefined : open }];
    }),
  );
}
