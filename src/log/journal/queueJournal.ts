import { assert, MillraceError } from "../../base/errors.ts";
import { InFlight } from "../../base/inFlight.ts";
import { nextTurn } from "../../base/nextTurn.ts";
import { RepeatedTrouble } from "../../base/repeatedTrouble.ts";
import type { ContentFormat } from "../../record/message.ts";
import { Receipt } from "../../record/receipt.ts";
import type { Destination, JournalMessage, JournalPosition, QueueId, QueueJournal, StoppedQueues } from "../contract/queueJournal.ts";
import { RetryPause } from "../retryPause.ts";
import { AcknowledgementStage } from "./acknowledgementStage.ts";
import {
  commitEntryBytes,
  corrupt,
  decodeMessage,
  destinationBytes,
  endEntryBytes,
  entryHeadBytes,
  fileHeaderBytes,
  messageHeadBytes,
} from "./files/format.ts";
import type { JournalFile, JournalTail } from "./files/journalFile.ts";
import type { JournalFiles } from "./files/journalFiles.ts";
import { heldBytesOf, Rescue, UnsyncedBytes } from "./files/rescue.ts";
import { WriteBuffer, WriteChunk } from "./files/writeChunk.ts";
import { journalClosed, journalFailed, messageTooLarge } from "./journalErrors.ts";
import type { JournalParts, JournalSettings } from "./journalParts.ts";

/** Nobody waits for an acknowledgement; without other writes it is written after this long. */
const acknowledgeDelayMs = 5;
/** Written without a sync, and held in memory until one: past this there is one, though nobody waits for it. */
const unsyncedBytesMax = 4 * 1024 * 1024;

/**
 * Two buffers take turns: while one is written and synced, the other fills, and goes next. A sync is left out of a commit in
 * which nobody waits for it (acknowledgements, transient messages); the next sync of the same file covers it.
 *
 * After a failed write or sync the journal is down: who waits is told, nothing is taken, acknowledgements wait. What was not synced is
 * still in memory; once it is durable in another file, all goes on.
 */
export class FileQueueJournal implements QueueJournal {
  private readonly fileBytes: number;
  private readonly entryBytesMax: number;
  private readonly stage: AcknowledgementStage;
  private readonly buffers: WriteBuffer[] = [];
  /** Chunks that wait, in order; only the last one still grows. */
  private readonly waiting: WriteChunk[] = [];
  private inFlight: WriteChunk | undefined;
  /** In the file of `tail`, but written without a sync. */
  private readonly unsynced = new UnsyncedBytes();
  /** While the journal is down. */
  private rescue: Rescue | undefined;
  /** How far the file of `tail` is written; with no chunk waiting, that is `tail` itself. */
  private written: JournalPosition;
  private syncedBelow: JournalPosition;
  private due = false;
  private running: Promise<void> | undefined;
  private acknowledgeTimerSet = false;
  /** While the journal is down, why. */
  private down: MillraceError | undefined;
  private readonly retries: RetryPause;
  private readonly trouble = new RepeatedTrouble();
  private closing: Promise<void> | undefined;
  private readonly reads = new InFlight();
  private refusal: MillraceError | undefined;
  private syncs = 0;
  private bytesWritten = 0;
  private failures = 0;

  constructor(
    private readonly settings: JournalSettings,
    private readonly parts: JournalParts,
    private tail: JournalTail,
    private readonly processId: Uint8Array,
    private readonly damagedEntries: number,
  ) {
    const { fileBytes } = parts.files;
    this.fileBytes = fileBytes;
    this.entryBytesMax = fileBytes - fileHeaderBytes - commitEntryBytes - endEntryBytes;
    this.stage = new AcknowledgementStage(this.entryBytesMax - entryHeadBytes);
    parts.writeBehind.acknowledged = (queue, offset) => this.acknowledged(queue, offset);
    this.written = this.syncedBelow = tail.file.sequence * fileBytes + tail.offset;
    this.retries = new RetryPause(settings.clock);
  }

  get stats(): QueueJournal["stats"] {
    const files = this.files.count;
    const { all, bytes: segmentBytes } = this.parts.segments;
    const { syncs, bytesWritten, failures, damagedEntries } = this;
    const bytes = files * this.fileBytes;
    const refused = (this.refusal ?? this.down ?? this.files.room.refusal)?.code;
    return { files, bytes, syncs, bytesWritten, segments: all.length, segmentBytes, failures, damagedEntries, refused };
  }

  private get files(): JournalFiles {
    return this.parts.files;
  }

  append(message: JournalMessage, destinations: readonly Destination[], pins: number, receipt: Receipt | undefined): JournalPosition {
    const refused = this.refusal ?? this.down ?? this.files.room.refusal;
    if (refused !== undefined) throw refused;
    const dedupeBytes = message.dedupeId === undefined ? 0 : Buffer.byteLength(message.dedupeId);
    const contentBytes = message.content.length;
    const length = messageHeadBytes + destinations.length * destinationBytes + message.address.length + dedupeBytes + contentBytes;
    if (contentBytes > this.settings.messageBytesMax || length > this.entryBytesMax || dedupeBytes > 0xffff)
      throw messageTooLarge(length, this.settings.messageBytesMax, this.entryBytesMax);
    const chunk = this.roomFor(length);
    const position = chunk.file.sequence * this.fileBytes + chunk.end;
    chunk.message(length, dedupeBytes, message, destinations);
    chunk.file.pins += pins;
    if (message.persistent) {
      chunk.needsSync = true;
      if (receipt !== undefined) chunk.join(receipt);
    }
    if (!this.due) this.commitSoon();
    return position;
  }

  joinPending(position: JournalPosition, receipt: Receipt): void {
    if (position < this.syncedBelow) return;
    if (this.down !== undefined) {
      receipt.join();
      receipt.leave(this.down);
      return;
    }
    // if it was written without a sync, the next one covers it
    (this.chunkAt(position) ?? this.lastChunk()).join(receipt);
    if (!this.due) this.commitSoon();
  }

  acknowledge(queue: QueueId, offset: number, position: JournalPosition): void {
    this.release(position);
    this.acknowledged(queue, offset);
  }

  private acknowledged(queue: QueueId, offset: number): void {
    if (this.refusal !== undefined) return; // closed: nothing is written any more
    this.stage.add(queue, offset);
    if (this.stage.full && this.down !== undefined) this.stage.setAside();
    else if (this.stage.full) {
      this.writeAcknowledgements();
      if (!this.due) this.commitSoon();
    } else if (!this.acknowledgeTimerSet) {
      this.acknowledgeTimerSet = true;
      this.settings.clock.after(acknowledgeDelayMs, () => {
        this.acknowledgeTimerSet = false;
        if (!this.stage.isEmpty && !this.due) this.commitSoon();
      });
    }
  }

  release(position: JournalPosition): void {
    if (position < 0) return this.parts.writeBehind.release(position);
    const file = this.fileOf(position);
    if (file === undefined) return;
    if (file.pins <= 0) assert(false, `journal file ${file.sequence} is released only as often as it was pinned`);
    file.unpin();
  }

  pin(position: JournalPosition): void {
    if (position < 0) return this.parts.segments.pin(position);
    const file = this.fileOf(position);
    if (file !== undefined) file.pins++;
  }

  drop(queue: QueueId, belowOffset: number, receipt: Receipt | undefined): JournalPosition {
    const refused = this.refusal ?? this.down;
    if (refused !== undefined) throw refused;
    const chunk = this.roomFor(entryHeadBytes + destinationBytes);
    const position = this.position(chunk) + chunk.used;
    chunk.dropped(queue, belowOffset);
    chunk.file.pins++;
    if (receipt !== undefined) chunk.join(receipt);
    if (!this.due) this.commitSoon();
    return position;
  }

  async read(position: JournalPosition): Promise<{ address: Buffer; contentFormat: ContentFormat; content: Buffer }> {
    if (this.closing !== undefined) throw journalClosed();
    this.reads.begin();
    try {
      const found = await (position < 0 ? this.parts.segments.read(position) : this.readFile(position));
      return found as typeof found & { contentFormat: ContentFormat };
    } finally {
      this.reads.end();
    }
  }

  sync(): Promise<void> {
    if (this.down !== undefined) return Promise.reject(this.down);
    return new Promise((resolve, reject) => {
      const receipt = new Receipt((failure) => (failure === undefined ? resolve() : reject(failure)));
      this.writeAcknowledgements();
      const last = this.lastChunk();
      if (this.syncedBelow < this.position(last) + last.used) last.join(receipt);
      receipt.seal();
      if (!this.due) this.commitSoon();
    });
  }

  close(queues?: StoppedQueues): Promise<void> {
    this.refusal ??= journalClosed();
    this.closing ??= this.finish(queues);
    return this.closing;
  }

  private async finish(queues: StoppedQueues | undefined): Promise<void> {
    let synced = false;
    try {
      this.files.beginClosing();
      this.retries.endNow();
      if (this.down !== undefined) await this.running;
      if (this.down === undefined) await this.sync().catch((failure: unknown) => this.syncInNewFile(failure));
      synced = this.down === undefined;
    } finally {
      await this.running;
      const { writeBehind, segments } = this.parts;
      writeBehind.stop();
      await writeBehind.stopped;
      // who reads may finish, in files that are open
      if (this.reads.any) await this.reads.none();
      await this.files.close();
      if (synced && queues !== undefined) await this.leave(queues);
      await segments.close();
    }
  }

  /** What the next start takes in place of the entries; without it, it reads those. */
  private async leave(queues: StoppedQueues): Promise<void> {
    if (this.syncedBelow < this.written) return;
    const { logger, directory } = this.settings;
    await this.parts.leave(this.tail, queues).catch((error: unknown) => {
      logger.warn("could not write down what the queues have; the next start reads the journal", { directory, error });
    });
  }

  private async syncInNewFile(failure: unknown): Promise<void> {
    await this.running;
    if (this.down !== undefined) throw failure;
    await this.sync();
  }

  /** The chunk that takes `length` more bytes; the next file's, if this one has no room for them and its end. */
  private roomFor(length: number): WriteChunk {
    let chunk = this.lastChunk();
    if (chunk.end + (chunk.used === 0 ? commitEntryBytes : 0) + length + endEntryBytes > this.fileBytes) {
      chunk.finishFile();
      const file = this.files.next();
      chunk = this.newChunk({ file, offset: fileHeaderBytes, chain: file.headerCrc });
    }
    if (chunk.used === 0) chunk.commit(Math.max(0, this.syncedBelow - chunk.file.sequence * this.fileBytes), this.processId);
    return chunk;
  }

  private lastChunk(): WriteChunk {
    return this.waiting.at(-1) ?? this.newChunk(this.tail);
  }

  private newChunk({ file, offset, chain }: JournalTail): WriteChunk {
    const chunk = new WriteChunk(file, offset, chain, this.buffers.pop() ?? new WriteBuffer(this.fileBytes), this.settings.budget);
    this.waiting.push(chunk);
    return chunk;
  }

  private writeAcknowledgements(): void {
    this.stage.takeAll((bytes, byteLength) => this.roomFor(entryHeadBytes + byteLength).acknowledgements(bytes, byteLength));
  }

  private commitSoon(): void {
    this.due = true;
    this.running ??= nextTurn().then(() => this.commitAll());
  }

  private async commitAll(): Promise<void> {
    while (this.due && this.rescue === undefined) {
      this.due = false;
      this.writeAcknowledgements();
      for (let count = this.waiting.length; count > 0 && this.rescue === undefined; count--) {
        this.inFlight = this.waiting.shift() as WriteChunk;
        this.tail = { file: this.inFlight.file, offset: this.inFlight.end, chain: this.inFlight.chain };
        await this.commit(this.inFlight);
      }
      if (this.rescue !== undefined && !(await this.goOnInNewFile(this.rescue))) break;
    }
    this.running = undefined;
  }

  private async commit(chunk: WriteChunk): Promise<void> {
    try {
      const handle = await chunk.file.ready;
      this.files.reachedBy(chunk.file.sequence);
      const { used, fileOffset } = chunk;
      const inOneTrip = chunk.needsSync && used > 0 && this.unsynced.length === 0;
      if (inOneTrip) await handle.writeSynced(chunk.buffer.bytes, 0, used, fileOffset);
      else if (used > 0) await handle.write(chunk.buffer.bytes, 0, used, fileOffset);
      this.written = this.position(chunk) + used;
      this.bytesWritten += used;
      // looked at only now: who joined during the write is served too
      if (chunk.needsSync || this.unsynced.length + used > unsyncedBytesMax) {
        this.syncs++;
        if (!inOneTrip) await handle.sync();
        this.syncedBelow = this.written;
        this.unsynced.takeAll();
      } else this.unsynced.add(chunk);
    } catch (error) {
      return this.fail(error, chunk);
    }
    this.inFlight = undefined;
    this.retries.reset();
    if (chunk.buffer.worthKeeping && this.buffers.length < 2) this.buffers.push(chunk.buffer);
    chunk.settle();
    // before it is needed: while the disk has no room for it, what is left of this one is for acknowledgements
    this.files.prepare();
  }

  /**
   * The sync is never tried again: the system may report the next one as good although the data is gone. Nothing more is written into the
   * file; what it surely has counts.
   */
  private fail(cause: unknown, chunk: WriteChunk): void {
    const { file } = chunk;
    this.failures++;
    file.failed = true;
    this.down = journalFailed(file.path, cause);
    this.settings.logger.error("a write of the journal failed; going on in another file", { file: file.path, error: this.down });
    const countsTo = Math.max(fileHeaderBytes, this.syncedBelow - file.sequence * this.fileBytes);
    const chunks = [chunk, ...this.waiting.splice(0)];
    this.rescue = new Rescue(
      [...this.unsynced.takeAll(), ...chunks.map(heldBytesOf)],
      { sequence: file.sequence, countsTo },
      this.files,
      this.settings.budget,
    );
    this.inFlight = undefined;
    for (const one of chunks) one.settle(this.down);
  }

  /** False: the journal was closed before it worked. */
  private async goOnInNewFile(rescue: Rescue): Promise<boolean> {
    const { files } = this;
    const { logger } = this.settings;
    files.mayExceed = true;
    for (const newest = files.newest; ; ) {
      await this.retries.pause();
      try {
        this.tail = await rescue.write(this.processId);
        break;
      } catch (error) {
        await files.giveUpAfter(newest);
        if (this.trouble.isNews(error)) {
          logger.error("could not go on in another file of the journal; trying again", { directory: this.settings.directory, error });
        }
        if (this.refusal !== undefined) return false;
      }
    }
    files.mayExceed = false;
    const { file, offset } = this.tail;
    this.written = this.syncedBelow = file.sequence * this.fileBytes + offset;
    files.cutOff(rescue.cut, rescue.begin);
    await rescue.tellTenants(this.parts.tenants);
    files.reachedBy(file.sequence);
    this.rescue = undefined;
    this.down = undefined;
    this.trouble.over();
    this.due = true; // what was acknowledged meanwhile
    logger.info("the journal goes on in another file; nothing that was taken is lost", { file: file.path });
    return true;
  }

  private position(chunk: WriteChunk): JournalPosition {
    return chunk.file.sequence * this.fileBytes + chunk.fileOffset;
  }

  private async readFile(position: JournalPosition): Promise<ReturnType<typeof decodeMessage>> {
    const chunk = this.chunkAt(position);
    const offset = position % this.fileBytes;
    if (chunk !== undefined) return decodeMessage(chunk.buffer.bytes, offset - chunk.fileOffset);
    const held = this.rescue?.at(position);
    if (held !== undefined) return decodeMessage(held.bytes, offset - held.fileOffset);
    const file = this.fileOf(position);
    if (file !== undefined) return this.parts.reader.message(file, offset, this.writtenEndOf(file));
    const damaged = this.files.damagedPathOf(Math.floor(position / this.fileBytes));
    throw corrupt(`${damaged} at byte ${offset}`, "the message could not be saved from a damaged file");
  }

  /** Undefined: it was put aside as damaged. */
  private fileOf(position: JournalPosition): JournalFile | undefined {
    return this.files.at(Math.floor(position / this.fileBytes));
  }

  /** The chunk in memory that holds the entry; undefined if it is in the file. */
  private chunkAt(position: JournalPosition): WriteChunk | undefined {
    const { inFlight, waiting } = this;
    for (let n = waiting.length - 1; n >= 0; n--) {
      const chunk = waiting[n] as WriteChunk;
      if (this.holds(chunk, position)) return chunk;
    }
    return inFlight !== undefined && this.holds(inFlight, position) ? inFlight : undefined;
  }

  private holds(chunk: WriteChunk, position: JournalPosition): boolean {
    const start = this.position(chunk);
    return position >= start && position < start + chunk.used;
  }

  private writtenEndOf(file: JournalFile): number {
    const start = file.sequence * this.fileBytes;
    assert(this.written > start, "a message that is not in memory is written");
    return Math.min(this.fileBytes, this.written - start);
  }
}
