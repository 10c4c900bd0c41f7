/**
 * What each producer appended last: it recognises a batch that comes a second time, refuses one that skips, fences a producer that was
 * replaced, and knows which transactions are open.
 */
import { createHash } from "node:crypto";
import { MillraceError } from "../../../base/errors.ts";
import { baseOffsetAt, baseSequenceAt, lastOffsetDeltaAt, producerEpochAt, producerIdAt } from "../../../record/batchHeader.ts";
import { isControlAt, isTransactionalAt, markerAt, type TransactionMarker } from "../../../record/controlBatch.ts";
import type { OpenTransaction, TransactionEnd } from "../../contract/embeddedLog.ts";
import type { AbortedEntry } from "../transactions/abortedIndex.ts";
import { decodeProducers, encodeProducers } from "./producerSnapshot.ts";

/** Kafka's number: as many batches as a producer may have in flight. */
const BATCHES_KEPT = 5;
const SEQUENCES = 2147483648;
/** What tells the id of a name from one that a coordinator counted up. */
const NAMED_BIT = 1n << 62n;

interface Batch {
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly baseOffset: number;
}

export interface Producer {
  epoch: number;
  /** When its last batch came; of one that a start found in the log only that it was not later. */
  appendedAt: number;
  /** The last ones, oldest first. */
  batches: Batch[];
  /** Of who ended a transaction of it last; -1: nobody did. */
  coordinatorEpoch: number;
  /** The first offset of its open transaction. */
  openFrom: number | undefined;
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

/** Is it the id of a name? */
export const isNamed = (producerId: bigint): boolean => (producerId & NAMED_BIT) !== 0n;

export class ProducerState {
  private readonly producers: Map<bigint, Producer>;
  /** Those with an open transaction, and its first offset; ascending, as transactions open at the end of the log. */
  private readonly open: Map<bigint, number>;

  constructor(producers: Map<bigint, Producer> = new Map()) {
    this.producers = producers;
    const open = [...producers].flatMap(([id, { openFrom }]): [bigint, number][] => (openFrom === undefined ? [] : [[id, openFrom]]));
    this.open = new Map(open.sort(([, a], [, b]) => a - b));
  }

  /** The first offset of the oldest open transaction. */
  get openFrom(): number | undefined {
    return this.open.values().next().value;
  }

  openTransactions(): OpenTransaction[] {
    return [...this.open].map(([producerId, firstOffset]) => {
      return { producerId, epoch: this.producers.get(producerId)?.epoch ?? -1, firstOffset };
    });
  }

  /**
   * Is the batch new, or the one that is kept at an offset already? Throws PRODUCER_FENCED, OUT_OF_ORDER_SEQUENCE or INVALID_TXN_STATE.
   * @param unknownBegins where a producer that is not known may begin: anywhere if undefined, as its state may have expired.
   */
  check(
    claim: ProducerClaim,
    batch: { readonly firstSequence: number; readonly count: number; readonly transactional: boolean },
    where: string,
    unknownBegins: number | undefined,
  ): number | "new" {
    const { firstSequence } = batch;
    const producer = this.producers.get(claim.id);
    if (producer !== undefined && claim.epoch < producer.epoch) throw fenced(claim, producer.epoch, where);
    const sameEpoch = producer !== undefined && claim.epoch === producer.epoch;
    const lastSequence = lastSequenceOf(firstSequence, batch.count);
    const known = sameEpoch
      ? producer.batches.find((b) => b.firstSequence === firstSequence && b.lastSequence === lastSequence)
      : undefined;
    if (known !== undefined) return known.baseOffset;
    if (!batch.transactional && producer?.openFrom !== undefined) throw withinTransaction(claim, producer.openFrom, where);
    const expected = sameEpoch ? nextSequenceOf(producer) : producer === undefined ? unknownBegins : 0;
    if (expected === undefined || firstSequence === expected) return "new";
    throw new MillraceError(
      "OUT_OF_ORDER_SEQUENCE",
      `Producer ${claim.called} appends sequence ${firstSequence}; the next one of epoch ${claim.epoch} is ${expected}.`,
      { domain: "internal", where, hint: "Ask producerState where it stands and go on from there." },
    );
  }

  /** Throws PRODUCER_FENCED or TRANSACTION_COORDINATOR_FENCED. */
  checkEnd({ producerId, epoch, coordinatorEpoch }: TransactionEnd, where: string): void {
    const producer = this.producers.get(producerId);
    if (producer === undefined) return;
    if (epoch < producer.epoch) throw fenced({ id: producerId, epoch, called: String(producerId) }, producer.epoch, where);
    if (coordinatorEpoch >= producer.coordinatorEpoch) return;
    throw new MillraceError(
      "TRANSACTION_COORDINATOR_FENCED",
      `A coordinator of epoch ${coordinatorEpoch} ends a transaction of producer ${producerId}; ${producer.coordinatorEpoch} replaced it.`,
      { domain: "internal", where, hint: "Another coordinator looks after this producer now." },
    );
  }

  /**
   * A batch is in the log: live and in recovery. A control batch has to lie whole in `bytes`. Returns the transaction that it aborts.
   * @param now when it came, or when it is read.
   */
  applyBatch(bytes: Buffer, at: number, now: number): AbortedEntry | undefined {
    // most batches have no producer, and -1 shows in the id's first byte
    if ((bytes[at + 43] as number) >= 0x80) return undefined;
    const id = producerIdAt(bytes, at);
    const epoch = producerEpochAt(bytes, at);
    const baseOffset = baseOffsetAt(bytes, at);
    if (isControlAt(bytes, at)) {
      const marker = markerAt(bytes, at);
      // a marker without a record: all of the transaction was compacted away
      return marker && this.ended(id, epoch, marker, baseOffset, now);
    }
    const firstSequence = baseSequenceAt(bytes, at);
    // compaction takes records out, and a batch's sequences stay as many as its offsets
    const lastSequence = lastSequenceOf(firstSequence, lastOffsetDeltaAt(bytes, at) + 1);
    const producer = this.applied(id, epoch, { firstSequence, lastSequence, baseOffset }, now);
    if (producer.openFrom === undefined && isTransactionalAt(bytes, at)) {
      producer.openFrom = baseOffset;
      this.open.set(id, baseOffset);
    }
    return undefined;
  }

  applied(id: bigint, epoch: number, batch: Batch, now: number): Producer {
    const producer = this.entered(id, epoch, now);
    producer.batches.push(batch);
    if (producer.batches.length > BATCHES_KEPT) producer.batches.shift();
    return producer;
  }

  standing(id: bigint): { epoch: number; nextSequence: number } | undefined {
    const producer = this.producers.get(id);
    return producer && { epoch: producer.epoch, nextSequence: nextSequenceOf(producer) };
  }

  /**
   * Is the batch the last one of its producer, without which its sequence would not be known any more? Of a producer whose epoch has no
   * batch yet a marker says the epoch. False for a batch without producer.
   */
  isLastBatch(bytes: Buffer, at: number): boolean {
    const last = this.producers.get(producerIdAt(bytes, at));
    if (last?.epoch !== producerEpochAt(bytes, at)) return false;
    return isControlAt(bytes, at) ? last.batches.length === 0 : last.batches.at(-1)?.baseOffset === baseOffsetAt(bytes, at);
  }

  /**
   * Forgets the producers that appended nothing for so long, but for those with an open transaction, and those of a name: who has one
   * relies on being known, and there are only as many as somebody chose names.
   */
  expire(now: number, afterMs: number): number {
    const before = this.producers.size;
    for (const [id, { appendedAt, openFrom }] of this.producers) {
      if (now - appendedAt >= afterMs && openFrom === undefined && !isNamed(id)) this.producers.delete(id);
    }
    return before - this.producers.size;
  }

  copy(): ProducerState {
    return new ProducerState(new Map([...this.producers].map(([id, producer]) => [id, { ...producer, batches: [...producer.batches] }])));
  }

  encode(): Buffer {
    return encodeProducers(this.producers);
  }

  /** See decodeProducers. */
  static decode(bytes: Buffer, where: string, now: number): ProducerState | undefined {
    const producers = decodeProducers(bytes, where, now);
    return producers && new ProducerState(producers);
  }

  private ended(id: bigint, epoch: number, marker: TransactionMarker, offset: number, now: number): AbortedEntry | undefined {
    const producer = this.entered(id, epoch, now);
    const firstOffset = producer.openFrom;
    producer.coordinatorEpoch = marker.coordinatorEpoch;
    producer.openFrom = undefined;
    this.open.delete(id);
    if (firstOffset === undefined || marker.outcome === "commit") return undefined;
    return { producerId: id, firstOffset, lastOffset: offset, lastStableOffset: this.openFrom ?? offset + 1 };
  }

  /** Another epoch begins its sequences anew. A transaction stays open: only its marker ends it. */
  private entered(id: bigint, epoch: number, now: number): Producer {
    let producer = this.producers.get(id);
    if (producer === undefined) {
      producer = { epoch, appendedAt: now, batches: [], coordinatorEpoch: -1, openFrom: undefined };
      this.producers.set(id, producer);
    } else if (producer.epoch !== epoch) {
      producer.epoch = epoch;
      producer.batches = [];
    }
    producer.appendedAt = now;
    return producer;
  }
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

const withinTransaction = (claim: ProducerClaim, firstOffset: number, where: string): MillraceError =>
  new MillraceError(
    "INVALID_TXN_STATE",
    `Producer ${claim.called} appends outside a transaction, and the one that it opened at offset ${firstOffset} is not ended.`,
    { domain: "external", where, hint: "Commit or abort the transaction first." },
  );
