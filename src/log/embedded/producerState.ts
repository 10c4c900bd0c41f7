/**
 * Which batches each producer appended last: what recognises a batch that comes a second time, refuses one that skips, and fences a
 * producer that was replaced. As of an offset it is kept in `<offset>.snapshot`, JSON with a version and a CRC:
 *
 *   { "version": 2, "crc32c": <of the producers' JSON>,
 *     "producers": [{ "id", "epoch", "timestamp", "batches": [[firstSequence, lastSequence, baseOffset]] }] }
 *
 * The batches in the log carry the same facts, so a snapshot only spares reading older segments; one of version 1 knew no offsets and
 * is not read.
 */
import { createHash } from "node:crypto";
import { crc32c } from "../../base/crc32c.ts";
import { MillraceError } from "../../base/errors.ts";
import {
  baseOffsetAt,
  baseSequenceAt,
  lastOffsetDeltaAt,
  maxTimestampAt,
  producerEpochAt,
  producerIdAt,
} from "../../record/batchHeader.ts";

/** Kafka's number: as many batches as a producer may have in flight. */
const BATCHES_KEPT = 5;
const SNAPSHOT_VERSION = 2;
const SEQUENCES = 2147483648;
/** What tells the id of a name from one that a coordinator counted up. */
const NAMED_BIT = 1n << 62n;

interface Batch {
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly baseOffset: number;
}

interface Producer {
  epoch: number;
  /** Of its last batch. */
  timestamp: number;
  /** The last ones, oldest first. */
  batches: Batch[];
}

/** Who appends, as the batch's header says it, and how to call it in an error. */
export interface ProducerClaim {
  readonly id: bigint;
  readonly epoch: number;
  readonly called: string;
}

/** 62 bits of the name's SHA-256: the same name is the same producer after a restart, without a registry. */
export function producerIdOf(name: string): bigint {
  return (createHash("sha256").update(name).digest().readBigUInt64BE(0) >> 2n) | NAMED_BIT;
}

export class ProducerState {
  private readonly producers = new Map<bigint, Producer>();

  /**
   * Is the batch new, or the one that is kept at an offset already? Throws PRODUCER_FENCED or OUT_OF_ORDER_SEQUENCE.
   * @param unknownBegins where a producer that is not known may begin: anywhere if undefined, as its state may have expired.
   */
  check(claim: ProducerClaim, firstSequence: number, count: number, where: string, unknownBegins: number | undefined): number | "new" {
    const producer = this.producers.get(claim.id);
    if (producer !== undefined && claim.epoch < producer.epoch) throw fenced(claim, producer.epoch, where);
    const sameEpoch = producer !== undefined && claim.epoch === producer.epoch;
    const lastSequence = lastSequenceOf(firstSequence, count);
    const known = sameEpoch
      ? producer.batches.find((b) => b.firstSequence === firstSequence && b.lastSequence === lastSequence)
      : undefined;
    if (known !== undefined) return known.baseOffset;
    const expected = sameEpoch ? nextSequenceOf(producer) : producer === undefined ? unknownBegins : 0;
    if (expected === undefined || firstSequence === expected) return "new";
    throw new MillraceError(
      "OUT_OF_ORDER_SEQUENCE",
      `Producer ${claim.called} appends sequence ${firstSequence}; the next one of epoch ${claim.epoch} is ${expected}.`,
      { domain: "internal", where, hint: "Ask producerState where it stands and go on from there." },
    );
  }

  /** A batch is in the log: live and in recovery. */
  applyBatch(bytes: Buffer, at: number): void {
    // most batches have no producer, and -1 shows in the id's first byte
    if ((bytes[at + 43] as number) >= 0x80) return;
    const firstSequence = baseSequenceAt(bytes, at);
    // compaction takes records out, and a batch's sequences stay as many as its offsets
    const lastSequence = lastSequenceOf(firstSequence, lastOffsetDeltaAt(bytes, at) + 1);
    const batch = { firstSequence, lastSequence, baseOffset: baseOffsetAt(bytes, at) };
    this.applied(producerIdAt(bytes, at), producerEpochAt(bytes, at), batch, maxTimestampAt(bytes, at));
  }

  applied(id: bigint, epoch: number, batch: Batch, timestamp: number): void {
    let producer = this.producers.get(id);
    if (producer === undefined || producer.epoch !== epoch) {
      producer = { epoch, timestamp, batches: [] };
      this.producers.set(id, producer);
    }
    producer.timestamp = timestamp;
    producer.batches.push(batch);
    if (producer.batches.length > BATCHES_KEPT) producer.batches.shift();
  }

  standing(id: bigint): { epoch: number; nextSequence: number } | undefined {
    const producer = this.producers.get(id);
    return producer && { epoch: producer.epoch, nextSequence: nextSequenceOf(producer) };
  }

  /** Is the batch the last one of its producer? False for one without producer. */
  isLastBatch(bytes: Buffer, at: number): boolean {
    const last = this.producers.get(producerIdAt(bytes, at));
    return last?.epoch === producerEpochAt(bytes, at) && last.batches.at(-1)?.baseOffset === baseOffsetAt(bytes, at);
  }

  copy(): ProducerState {
    const copy = new ProducerState();
    for (const [id, producer] of this.producers) copy.producers.set(id, { ...producer, batches: [...producer.batches] });
    return copy;
  }

  encode(): Buffer {
    const producers = JSON.stringify(
      [...this.producers].map(([id, { epoch, timestamp, batches }]) => ({
        id: String(id),
        epoch,
        timestamp,
        batches: batches.map((batch) => [batch.firstSequence, batch.lastSequence, batch.baseOffset]),
      })),
    );
    return Buffer.from(`{"version":${SNAPSHOT_VERSION},"crc32c":${crc32c(Buffer.from(producers))},"producers":${producers}}\n`);
  }

  /** Undefined: damaged or old, to be rebuilt from the log. A newer version is refused. */
  static decode(bytes: Buffer, where: string): ProducerState | undefined {
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
    if (snapshot.version !== SNAPSHOT_VERSION) return undefined;
    if (crc32c(Buffer.from(JSON.stringify(snapshot.producers) ?? "")) !== snapshot.crc32c) return undefined;
    const state = new ProducerState();
    for (const { id, epoch, timestamp, batches } of snapshot.producers) {
      const kept = batches.map(([firstSequence, lastSequence, baseOffset]) => ({ firstSequence, lastSequence, baseOffset }));
      state.producers.set(BigInt(id), { epoch, timestamp, batches: kept });
    }
    return state;
  }
}

interface Snapshot {
  readonly version: number;
  readonly crc32c: number;
  readonly producers: {
    readonly id: string;
    readonly epoch: number;
    readonly timestamp: number;
    readonly batches: [number, number, number][];
  }[];
}

/** Sequences are int32 and begin again at 0 after the last. */
const lastSequenceOf = (firstSequence: number, count: number): number => (firstSequence + count - 1) % SEQUENCES;
const nextSequenceOf = (producer: Producer): number => ((producer.batches.at(-1)?.lastSequence ?? -1) + 1) % SEQUENCES;

const fenced = (claim: ProducerClaim, epoch: number, where: string): MillraceError =>
  new MillraceError("PRODUCER_FENCED", `Producer ${claim.called} appends with epoch ${claim.epoch}; ${epoch} replaced it.`, {
    domain: "external",
    where,
    hint: "Another instance runs under this name: stop this one.",
  });
