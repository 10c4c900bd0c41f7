import type {
  JournalPosition,
  KeptRun,
  OffsetRange,
  QueueId,
  QueueJournal,
  RememberedId,
  ReplayedMessage,
  StoppedQueue,
} from "../log/contract/queueJournal.ts";
import type { Message } from "../record/message.ts";
import { Consumers } from "./consumers.ts";
import { ContentCache } from "./contentCache.ts";
import type { Consumer, Delivery, Owner, QueueHandle, QueueOptions } from "./contract.ts";
import type { Copy, KeptContent } from "./copy.ts";
import { type DedupeLimit, DedupeWindow } from "./dedupeWindow.ts";
import type { Deliverer } from "./deliveryTurns.ts";
import { DurableGate } from "./durableGate.ts";
import { IdExpiry } from "./idExpiry.ts";
import { QueueOffsets } from "./queueOffsets.ts";
import type { QueueSurroundings } from "./queueSurroundings.ts";
import { isDamage, ReadAhead, type ReadAheadSource } from "./readAhead.ts";
import { ReadyMessages } from "./readyMessages.ts";
import { durably, inSlices, releaseRuns } from "./releasing.ts";
import { RunFetch } from "./runFetch.ts";
import { areFewToTell, copiesToTell } from "./stoppedCopies.ts";
import { UnackedCopies } from "./unackedCopies.ts";

/**
 * A queue's copies: ready in order of their offsets, or unacknowledged. What it keeps is in the journal; here is only where. A
 * message that a waiting consumer takes at once never becomes ready.
 */
export class Queue implements QueueHandle, Deliverer, ReadAheadSource {
  readonly kind = "queue";
  readonly consumers = new Consumers();
  readonly dedupe: DedupeWindow | undefined;
  published = 0;
  delivered = 0;
  acknowledged = 0;
  duplicates = 0;
  deleted = false;
  /** An auto-delete queue goes with its last consumer, not before its first. */
  hadConsumers = false;
  private purges = 0;
  private ready: ReadyMessages;
  private readonly unacked = new UnackedCopies();
  private readonly readAhead: ReadAhead;
  private readonly runFetch: RunFetch;
  private readonly offsets = new QueueOffsets();
  private readonly gate: DurableGate | undefined;
  private readonly expiry: IdExpiry | undefined;

  constructor(
    readonly name: string,
    readonly id: QueueId,
    /** Its content outlives a restart. */
    readonly durable: boolean,
    readonly options: QueueOptions,
    /** Of an exclusive queue. */
    readonly owner: Owner | undefined,
    dedupe: { readonly limit: DedupeLimit; readonly idsMax: number } | undefined,
    private readonly shared: QueueSurroundings,
  ) {
    shared.queues.set(id, this);
    this.ready = this.nothingReady();
    const { clock, logger } = shared;
    this.runFetch = new RunFetch(name, clock, logger, () => this.wake());
    const room = new ContentCache(shared.readAhead);
    this.readAhead = new ReadAhead((position) => this.journal.read(position), this, room, clock, logger);
    if (dedupe === undefined) return;
    this.gate = new DurableGate(
      () => this.journal,
      clock,
      () => this.wake(),
    );
    // in replay no pin is taken yet
    this.dedupe = new DedupeWindow(dedupe.limit, dedupe.idsMax, (position) => shared.journal?.release(position));
    this.expiry = new IdExpiry(this.dedupe, clock);
  }

  get dedupes(): boolean {
    return this.dedupe !== undefined;
  }

  get readyCount(): number {
    return this.ready.length;
  }

  get unackedCount(): number {
    return this.unacked.count;
  }

  private get journal(): QueueJournal {
    return this.shared.journal as QueueJournal;
  }

  // ---- publishing

  /** Who takes the next message at once; undefined: it has to queue. */
  waitingConsumer(): Consumer | undefined {
    return this.ready.length === 0 ? this.consumers.nextReady() : undefined;
  }

  nextOffsetTaken(): number {
    return this.offsets.next++;
  }

  /** The message-id of what was just put into the journal. */
  remember(id: string, position: number, now: number, durable: boolean): void {
    this.dedupe?.remember(id, position, now, durable);
    this.expiry?.start(now);
  }

  hasRoomFor(contentBytes: number): boolean {
    return this.ready.hasRoomFor(contentBytes);
  }

  enqueue(offset: number, position: number, bytes: number, durable: boolean, content: KeptContent | undefined): void {
    this.ready.push(offset, position, bytes, durable, content);
    if (this.gate === undefined || !durable) return;
    this.gate.came(position);
    this.wake();
  }

  /** Straight from the publisher to a consumer, with an entry in the journal: `position`. */
  deliverKept(consumer: Consumer, offset: number, position: number, durable: boolean, message: Message): void {
    const bytes = message.content.length;
    const copy: Copy = { offset, position, bytes, durable, redelivered: false, content: undefined };
    this.hand(consumer, copy, message.address.encoded, message.contentFormat, message.content);
  }

  /** Straight from the publisher to a consumer that doesn't acknowledge: nobody will ask for it again. */
  deliverUnkept(consumer: Consumer, offset: number, message: Message): void {
    const { address, contentFormat, content } = message;
    this.countDelivered(offset);
    this.acknowledged++;
    consumer.deliver({ offset, address: address.encoded, contentFormat, content, redelivered: false }, this);
  }

  // ---- delivering

  wake(): void {
    if (this.ready.length > 0 && this.consumers.count > 0) this.shared.turns.ask(this);
  }

  pump(most: number): number {
    this.runFetch.start(this.ready);
    for (let delivered = 0; ; delivered++) {
      const copy = this.ready.first();
      if (copy === undefined) {
        this.runFetch.start(this.ready);
        return delivered;
      }
      if (delivered === most) {
        this.wake();
        return delivered;
      }
      if (this.gate?.holds(copy, this.offsets.next)) return delivered;
      const consumer = this.consumers.nextReady();
      if (consumer === undefined) return delivered;
      const content = this.readAhead.contentOf(copy);
      if (content === undefined) {
        this.consumers.putBack();
        this.readAhead.start();
        return delivered;
      }
      this.takeFirst();
      this.hand(consumer, this.withoutContent(copy), content.address, content.contentFormat, content.content);
    }
  }

  /** basic.get: as delivered, but to nobody who waits. */
  async take(noAck: boolean): Promise<Delivery | undefined> {
    while (this.ready.length > 0 && this.ready.first() === undefined && !this.deleted) await this.ready.fetch();
    const next = this.ready.first();
    if (next === undefined || this.gate?.lets(next) === false) return undefined;
    const first = this.takeFirst();
    const copy = this.withoutContent(first);
    this.unacked.add(copy);
    let content = first.content;
    try {
      content ??= await this.unacked.contentOf(copy.offset, (position) => this.journal.read(position));
    } catch (error) {
      if (isDamage(error)) this.unreadable(copy.offset);
      else this.requeue(copy.offset);
      if (!this.deleted) throw error;
    }
    if (this.deleted || content === undefined) return undefined;
    this.countDelivered(copy.offset);
    if (noAck) this.acknowledge(copy.offset);
    return { offset: copy.offset, ...content, redelivered: copy.redelivered };
  }

  upcoming(): Iterable<Copy> {
    return this.ready.near();
  }

  arrived(): void {
    this.wake();
  }

  positionOf(offset: number): JournalPosition | undefined {
    return this.ready.positionOf(offset);
  }

  /** Its pin goes as well, so that it keeps no space: a damaged file of the journal is put aside when what is in it moves. */
  unreadable(offset: number): void {
    const copy = this.unacked.take(offset) ?? (this.ready.first()?.offset === offset ? this.takeFirst() : this.ready.delete(offset));
    if (copy !== undefined) this.journal.release(copy.position);
  }

  // ---- settling

  acknowledge(offset: number): void {
    const copy = this.unacked.take(offset);
    if (copy === undefined) return; // the queue was deleted meanwhile
    this.acknowledged++;
    this.end(copy);
  }

  discard(offset: number): void {
    this.acknowledge(offset);
  }

  requeue(offset: number): void {
    const copy = this.unacked.take(offset);
    if (copy === undefined) return;
    this.ready.requeue({ ...copy, redelivered: true });
    this.wake();
  }

  /** Everything that is ready goes; resolves with their number when that is durable. */
  async purge(): Promise<number> {
    const dropsAll = this.unacked.count === 0;
    // a drop takes the unacknowledged ones along; beside those the ready ones are ended one by one
    let drop: JournalPosition | undefined;
    const dropped =
      dropsAll && this.durable
        ? durably((receipt) => {
            drop = this.journal.drop(this.id, this.offsets.next, receipt);
          })
        : undefined;
    if (dropped !== undefined && drop === undefined) await dropped; // refused: everything stays
    const purged = this.takeAllReady();
    this.purges++;
    const released = inSlices(purged, (copy) => (dropsAll ? this.journal.release(copy.position) : this.end(copy)))
      .then(() => this.releaseRuns(purged, this.durable && !dropsAll))
      .then(() => {
        if (drop !== undefined) this.journal.release(drop);
        this.purges--;
      });
    // together: the drop may fail while the slices still go on
    await Promise.all([dropped, released]);
    if (!dropsAll && this.durable) await this.journal.sync();
    return purged.length;
  }

  /** Its topology is gone already, durably: what is left of it in the journal belongs to nobody. */
  async delete(): Promise<number> {
    this.deleted = true;
    this.shared.queues.delete(this.id);
    this.consumers.cancelAll();
    const unacked = this.unacked.takeAll();
    const left = this.takeAllReady();
    const remembered = this.dedupe?.takeAll() ?? [];
    this.stop();
    await inSlices(remembered, (position) => this.journal.release(position));
    await inSlices(left, (copy) => this.journal.release(copy.position));
    await inSlices(unacked, (copy) => this.journal.release(copy.position));
    await this.releaseRuns(left, false);
    return left.length;
  }

  // ---- where its copies are

  holds(offset: number, position: JournalPosition): boolean {
    return (this.unacked.positionOf(offset) ?? this.ready.positionOf(offset)) === position;
  }

  moved(offset: number, from: JournalPosition, to: JournalPosition): boolean {
    const position = this.unacked.positionOf(offset);
    if (position === undefined) return this.ready.positionOf(offset) === from && this.ready.move(offset, to);
    if (position !== from) return false;
    this.unacked.move(offset, to);
    return true;
  }

  stretch(run: KeptRun): void {
    this.ready.stretch(run);
  }

  runMoved(run: KeptRun, replaced: readonly KeptRun[]): readonly OffsetRange[] {
    return this.ready.runMoved(run, replaced);
  }

  /** Nothing happens by itself any more. */
  stop(): void {
    this.expiry?.stop();
  }

  // ---- recovery

  replayKept(run: KeptRun): boolean {
    this.offsets.atLeast(run.lastOffset + 1);
    this.ready.pushRun(run);
    return true;
  }

  replayRemembered({ offset, dedupeId, position, timestamp }: RememberedId): void {
    this.offsets.atLeast(offset + 1);
    if (this.dedupe?.find(dedupeId, timestamp) === undefined) this.dedupe?.remember(dedupeId, position, timestamp);
  }

  replayMessage(offset: number, message: ReplayedMessage): void {
    if (offset < this.offsets.next) return; // known already
    this.offsets.next = offset + 1;
    this.ready.push(offset, message.position, message.contentBytes, true, undefined);
    const { dedupeId, position, timestamp } = message;
    if (dedupeId !== undefined && this.dedupe?.find(dedupeId, timestamp) === undefined)
      this.dedupe?.remember(dedupeId, position, timestamp);
  }

  replayStopped({ copies, ids, nextOffset }: StoppedQueue): void {
    this.ready.pushStopped(copies, this.offsets.next);
    for (const { dedupeId, position, timestamp } of ids) {
      if (this.dedupe?.find(dedupeId, timestamp) === undefined) this.dedupe?.remember(dedupeId, position, timestamp);
    }
    this.offsets.atLeast(nextOffset);
  }

  replayAcknowledged(offset: number): void {
    this.offsets.atLeast(offset + 1);
    this.ready.delete(offset);
  }

  replayDropped(belowOffset: number): void {
    if (Number.isFinite(belowOffset)) this.offsets.atLeast(belowOffset);
    this.ready.dropBelow(belowOffset);
  }

  /** In slices. @param deliveredBelow what a clean stop wrote down; undefined after a crash. */
  async recovered(deliveredBelow: number | undefined): Promise<void> {
    this.gate?.recovered(this.offsets.next);
    this.offsets.recovered(deliveredBelow);
    await this.ready.recovered((position) => this.journal.pin(position));
    for (const position of this.dedupe?.positions() ?? []) this.journal.pin(position);
    this.expiry?.start(this.shared.clock.now());
  }

  /** For `replayStopped` after the next start. */
  get stopped(): StoppedQueue {
    const copies = copiesToTell(this.ready, this.unacked);
    return { queue: this.id, nextOffset: this.offsets.next, copies, ids: this.dedupe?.durable() ?? [] };
  }

  /** False: what a purge took is not gone from everywhere yet; or there is so much that one would notice. */
  get canTell(): boolean {
    return this.purges === 0 && areFewToTell(this.ready);
  }

  /** For `recovered` after the next start. */
  get deliveredOffsetsEnd(): number {
    return this.offsets.deliveredBelow;
  }

  // ---- within

  private releaseRuns(ready: ReadyMessages, forGood: boolean): Promise<void> {
    const { journal } = this;
    const { clock, logger } = this.shared;
    return releaseRuns(ready, forGood, this.name, { journal, clock, logger });
  }

  /** To be released; whatever comes is for others. */
  private takeAllReady(): ReadyMessages {
    const taken = this.ready;
    this.ready = this.nothingReady();
    this.readAhead.clear();
    taken.giveUp();
    return taken;
  }

  private nothingReady(): ReadyMessages {
    return new ReadyMessages(this.shared.contentCache, this.shared.runs, this.durable);
  }

  private hand(consumer: Consumer, copy: Copy, address: Buffer, contentFormat: Message["contentFormat"], content: Buffer): void {
    const { offset, redelivered } = copy;
    this.countDelivered(offset);
    if (!consumer.noAck) this.unacked.add(copy);
    consumer.deliver({ offset, address, contentFormat, content, redelivered }, this);
    if (!consumer.noAck) return;
    this.acknowledged++;
    this.end(copy);
  }

  private takeFirst(): Copy {
    const copy = this.ready.takeFirst();
    this.readAhead.taken(copy.offset);
    return copy;
  }

  private withoutContent(copy: Copy): Copy {
    return { ...copy, content: undefined, redelivered: copy.redelivered || this.offsets.isRedelivered(copy.offset) };
  }

  private countDelivered(offset: number): void {
    this.delivered++;
    this.offsets.deliver(offset);
  }

  private end(copy: Copy): void {
    if (copy.durable) this.journal.acknowledge(this.id, copy.offset, copy.position);
    else this.journal.release(copy.position);
  }
}
