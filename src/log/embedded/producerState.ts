/**
 * Which batches each producer appended last: what recognises a batch that comes a second time, refuses one that skips, and fences a
 * producer that was replaced. As of an offset it is kept in `<offset>.snapshot`, JSON with a version and a CRC:
 *
 *   { "version": 1, "crc32c": <of the producers' JSON>, "producers": [{ "id", "epoch", "batches": [[firstSequence, lastSequence]] }] }
 *
 * The batches in the log carry the same facts, so a snapshot only spares reading older segments.
 */
import { createHash } from "node:crypto";
import { crc32c } from "../../base/crc32c.ts";
import { MillraceError } from "../../base/errors.ts";
import type { ProducerIdentity } from "../contract/partitionedLog.ts";

/** Kafka's number: as many batches as a producer may have in flight. */
const BATCHES_KEPT = 5;
const SNAPSHOT_VERSION = 1;

interface Producer {
  epoch: number;
  /** [first, last] sequence of the last batches, oldest first. */
  batches: [number, number][];
}

/** 63 bits of the name's SHA-256: the same name is the same producer after a restart, without a registry. */
export function producerIdOf(name: string): bigint {
  return createHash("sha256").update(name).digest().readBigUInt64BE(0) >> 1n;
}

export class ProducerState {
  private readonly producers = new Map<bigint, Producer>();

  /** Is the batch new or a duplicate? Throws PRODUCER_FENCED or OUT_OF_ORDER_SEQUENCE. */
  check(identity: ProducerIdentity, id: bigint, firstSequence: number, count: number, where: string): "new" | "duplicate" {
    const producer = this.producers.get(id);
    const epoch = producer?.epoch ?? -1;
    if (identity.epoch < epoch) {
      throw new MillraceError(
        "PRODUCER_FENCED",
        `Producer "${identity.name}" appends with epoch ${identity.epoch}; ${epoch} replaced it.`,
        {
          domain: "external",
          where,
          hint: "Another instance runs under this name: stop this one.",
        },
      );
    }
    const sameEpoch = producer !== undefined && identity.epoch === epoch;
    const lastSequence = firstSequence + count - 1;
    if (sameEpoch && producer.batches.some(([first, last]) => first === firstSequence && last === lastSequence)) return "duplicate";
    const expected = sameEpoch ? nextSequenceOf(producer) : 0;
    if (firstSequence === expected) return "new";
    throw new MillraceError(
      "OUT_OF_ORDER_SEQUENCE",
      `Producer "${identity.name}" appends sequence ${firstSequence}; the next one of epoch ${identity.epoch} is ${expected}.`,
      { domain: "internal", where, hint: "Ask producerState where it stands and go on from there." },
    );
  }

  /** A batch is in the log. */
  applied(id: bigint, epoch: number, firstSequence: number, count: number): void {
    let producer = this.producers.get(id);
    if (producer === undefined || producer.epoch !== epoch) {
      producer = { epoch, batches: [] };
      this.producers.set(id, producer);
    }
    producer.batches.push([firstSequence, firstSequence + count - 1]);
    if (producer.batches.length > BATCHES_KEPT) producer.batches.shift();
  }

  standing(id: bigint): { epoch: number; nextSequence: number } | undefined {
    const producer = this.producers.get(id);
    return producer && { epoch: producer.epoch, nextSequence: nextSequenceOf(producer) };
  }

  copy(): ProducerState {
    const copy = new ProducerState();
    for (const [id, { epoch, batches }] of this.producers) copy.producers.set(id, { epoch, batches: [...batches] });
    return copy;
  }

  encode(): Buffer {
    const producers = JSON.stringify([...this.producers].map(([id, { epoch, batches }]) => ({ id: String(id), epoch, batches })));
    return Buffer.from(`{"version":${SNAPSHOT_VERSION},"crc32c":${crc32c(Buffer.from(producers))},"producers":${producers}}\n`);
  }

  /** Undefined: damaged, to be rebuilt from the log. A newer version is refused. */
  static decode(bytes: Buffer, where: string): ProducerState | undefined {
    let snapshot: Snapshot;
    try {
      snapshot = JSON.parse(bytes.toString()) as Snapshot;
    } catch {
      return undefined;
    }
    if (snapshot.version > SNAPSHOT_VERSION) {
      throw new MillraceError("FORMAT_TOO_NEW", `A producer snapshot has version ${snapshot.version}; this release reads up to 1.`, {
        domain: "user",
        where,
        hint: "Start the release that wrote it, or a later one.",
      });
    }
    if (crc32c(Buffer.from(JSON.stringify(snapshot.producers) ?? "")) !== snapshot.crc32c) return undefined;
    const state = new ProducerState();
    for (const { id, epoch, batches } of snapshot.producers) state.producers.set(BigInt(id), { epoch, batches });
    return state;
  }
}

interface Snapshot {
  readonly version: number;
  readonly crc32c: number;
  readonly producers: { id: string; epoch: number; batches: [number, number][] }[];
}

const nextSequenceOf = (producer: Producer): number => (producer.batches.at(-1)?.[1] ?? -1) + 1;
