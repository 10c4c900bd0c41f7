import type { ByteBudget } from "../../base/byteBudget.ts";
import type { Clock } from "../../base/clock.ts";
import { assert, MillraceError } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import type { ContentFormat } from "../../record/message.ts";
import { Receipt } from "../../record/receipt.ts";
import type { Destination, JournalMessage, JournalPosition, QueueId, QueueJournal } from "../contract/queueJournal.ts";
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
} from "./format.ts";
import type { JournalFile } from "./journalFile.ts";
import type { JournalFiles } from "./journalFiles.ts";
import type { JournalReader } from "./journalReader.ts";
import type { Segments } from "./segments.ts";
import type { WriteBehind } from "./writeBehind.ts";
import { WriteBuffer, WriteChunk } from "./writeChunk.ts";

/** Nobody waits for an acknowledgement; without other writes it is written after this long. */
const acknowledgeDelayMs = 5;
/** The next file is made once the current one is this full. */
const prepareAt = 1 / 4;

export interface JournalSettings {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Bytes that wait for the disk; shared with whoever else writes. */
  readonly budget: ByteBudget;
  /** The largest content that is taken. */
  readonly messageBytesMax: number;
  /** Made if it is not there; nothing but the journal is in it. */
  readonly directory: string;
}

/** Where the next chunk begins. */
export interface JournalTail {
  readonly file: JournalFile;
  readonly offset: number;
  readonly chain: number;
}

/**
 * Two buffers take turns: while one is written and synced, the other fills, and goes next. A sync is left out of a commit in
 * which nobody waits for it (acknowledgements, transient messages); the next sync of the same file covers it.
 */
export class FileQueueJournal implements QueueJournal {
  private readonly fileBytes: number;
  private readonly entryBytesMax: number;
  private readonly stage: AcknowledgementStage;
  private readonly buffers: WriteBuffer[] = [];
  /** Chunks that wait, in order; only the last one still grows. */
  private readonly waiting: WriteChunk[] = [];
  private inFlight: WriteChunk | undefined;
  /** How far the file of `tail` is written; with no chunk waiting, that is `tail` itself. */
  private written: JournalPosition;
  private syncedBelow: JournalPosition;
  private due = false;
  private running: Promise<void> | undefined;
  private acknowledgeTimerSet = false;
  private failed = false;
  private closing: Promise<void> | undefined;
  private refusal: MillraceError | undefined;
  private syncs = 0;
  private bytesWritten = 0;

  constructor(
    private readonly settings: JournalSettings,
    private readonly files: JournalFiles,
    private readonly segments: Segments,
    private readonly reader: JournalReader,
    private readonly writeBehind: WriteBehind,
    private tail: JournalTail,
    private readonly processId: Uint8Array,
  ) {
    this.fileBytes = files.fileBytes;
    this.entryBytesMax = files.fileBytes - fileHeaderBytes - commitEntryBytes - endEntryBytes;
    this.stage = new AcknowledgementStage(this.entryBytesMax - entryHeadBytes);
    writeBehind.acknowledged = (queue, offset) => this.acknowledged(queue, offset);
    this.written = this.syncedBelow = tail.file.sequence * this.fileBytes + tail.offset;
  }

  get stats(): QueueJournal["stats"] {
    const files = this.files.count;
    const { all, bytes: segmentBytes } = this.segments;
    const { syncs, bytesWritten } = this;
    return { files, bytes: files * this.fileBytes, syncs, bytesWritten, segments: all.length, segmentBytes };
  }

  append(message: JournalMessage, destinations: readonly Destination[], pins: number, receipt: Receipt | undefined): JournalPosition {
    if (this.refusal !== undefined) throw this.refusal;
    if (this.files.outOfSpace) throw this.diskFull();
    const dedupeBytes = message.dedupeId === undefined ? 0 : Buffer.byteLength(message.dedupeId);
    const contentBytes = message.content.length;
    const length = messageHeadBytes + destinations.length * destinationBytes + message.address.length + dedupeBytes + contentBytes;
    if (contentBytes > this.settings.messageBytesMax || length > this.entryBytesMax || dedupeBytes > 0xffff) throw this.tooLarge(length);
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
    if (this.failed) {
      receipt.join();
      receipt.leave(this.refusal);
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
    if (this.refusal !== undefined) return; // after a failure nothing is written any more
    this.stage.add(queue, offset);
    if (this.stage.full) {
      this.writeAcknowledgements();
      if (!this.due) this.commitSoon();
    } else if (!this.acknowledgeTimerSet) {
      this.acknowledgeTimerSet = true;
      this.settings.clock.after(acknowledgeDelayMs, () => {
        this.acknowledgeTimerSet = false;
        if (this.stage.used > 0 && !this.due) this.commitSoon();
      });
    }
  }

  release(position: JournalPosition): void {
    if (position < 0) return this.writeBehind.release(position);
    const file = this.fileOf(position);
    if (file === undefined) return;
    if (file.pins <= 0) assert(false, `journal file ${file.sequence} is released only as often as it was pinned`);
    file.unpin();
  }

  pin(position: JournalPosition): void {
    if (position < 0) return this.segments.pin(position);
    const file = this.fileOf(position);
    if (file !== undefined) file.pins++;
  }

  drop(queue: QueueId, belowOffset: number, receipt: Receipt | undefined): JournalPosition {
    if (this.refusal !== undefined) throw this.refusal;
    const chunk = this.roomFor(entryHeadBytes + destinationBytes);
    const position = this.position(chunk) + chunk.used;
    chunk.dropped(queue, belowOffset);
    chunk.file.pins++;
    if (receipt !== undefined) chunk.join(receipt);
    if (!this.due) this.commitSoon();
    return position;
  }

  async read(position: JournalPosition): Promise<{ address: Buffer; contentFormat: ContentFormat; content: Buffer }> {
    const found = await (position < 0 ? this.segments.read(position) : this.readFile(position));
    return found as typeof found & { contentFormat: ContentFormat };
  }

  sync(): Promise<void> {
    if (this.failed) return Promise.reject(this.refusal);
    return new Promise((resolve, reject) => {
      const receipt = new Receipt((failure) => (failure === undefined ? resolve() : reject(failure)));
      if (this.stage.used > 0) this.writeAcknowledgements();
      const last = this.lastChunk();
      if (this.syncedBelow < this.position(last) + last.used) last.join(receipt);
      receipt.seal();
      if (!this.due) this.commitSoon();
    });
  }

  close(): Promise<void> {
    this.refusal ??= new MillraceError("JOURNAL_CLOSED", "The queues' journal is closed.", { domain: "internal" });
    this.closing ??= this.finish();
    return this.closing;
  }

  private async finish(): Promise<void> {
    try {
      if (this.files.outOfSpace) this.files.giveUpWaiting();
      if (!this.failed) await this.sync();
    } finally {
      await this.running;
      this.writeBehind.stop();
      await this.writeBehind.stopped;
      await this.files.close();
      await this.segments.close();
    }
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
    const { used } = this.stage;
    this.stage.used = 0;
    this.roomFor(entryHeadBytes + used).acknowledgements(this.stage.bytes, used);
  }

  private commitSoon(): void {
    this.due = true;
    this.running ??= new Promise<void>((resolve) => setImmediate(resolve)).then(() => this.commitAll());
  }

  private async commitAll(): Promise<void> {
    while (this.due && !this.failed) {
      this.due = false;
      if (this.stage.used > 0) this.writeAcknowledgements();
      for (let count = this.waiting.length; count > 0 && !this.failed; count--) {
        this.inFlight = this.waiting.shift() as WriteChunk;
        this.tail = { file: this.inFlight.file, offset: this.inFlight.end, chain: this.inFlight.chain };
        await this.commit(this.inFlight);
      }
    }
    this.running = undefined;
  }

  private async commit(chunk: WriteChunk): Promise<void> {
    try {
      const handle = await chunk.file.ready;
      this.files.reachedBy(chunk.file.sequence);
      if (chunk.used > 0) await handle.write(chunk.buffer.bytes, 0, chunk.used, chunk.fileOffset);
      this.written = this.position(chunk) + chunk.used;
      this.bytesWritten += chunk.used;
      // looked at only now: who joined during the write is served too
      if (chunk.needsSync) {
        this.syncs++;
        await handle.sync();
        this.syncedBelow = this.written;
      }
    } catch (error) {
      return this.fail(error, chunk.file);
    }
    this.inFlight = undefined;
    if (chunk.buffer.worthKeeping && this.buffers.length < 2) this.buffers.push(chunk.buffer);
    chunk.settle();
    if (chunk.end > this.fileBytes * prepareAt) this.files.prepare();
  }

  /** Never tried again: after a failed sync the system may report the next one as good although the data is gone. */
  private fail(cause: unknown, file: JournalFile): void {
    const failure = new MillraceError(
      "JOURNAL_FAILED",
      "A write of the queues' journal failed. What was not confirmed is kept whole, once, or not at all; nothing more is taken.",
      { domain: "external", where: file.path, hint: "Free or repair the disk, then restart.", cause },
    );
    this.failed = true;
    this.refusal = failure;
    this.settings.logger.error("journal failed", { file: file.path, error: failure });
    // the chunks stay, so that what is in them can still be read
    this.inFlight?.settle(failure);
    for (const chunk of this.waiting) chunk.settle(failure);
  }

  private position(chunk: WriteChunk): JournalPosition {
    return chunk.file.sequence * this.fileBytes + chunk.fileOffset;
  }

  private async readFile(position: JournalPosition): Promise<ReturnType<typeof decodeMessage>> {
    const chunk = this.chunkAt(position);
    const offset = position % this.fileBytes;
    if (chunk !== undefined) return decodeMessage(chunk.buffer.bytes, offset - chunk.fileOffset);
    const file = this.fileOf(position);
    if (file !== undefined) return this.reader.message(file, offset, this.writtenEndOf(file));
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

  private diskFull(): MillraceError {
    return new MillraceError("JOURNAL_FULL", "The disk has no room for the queues' next messages; consuming and acknowledging go on.", {
      domain: "external",
      retryable: true,
      where: this.settings.directory,
      hint: "Free some space, or consume what is there: publishing goes on by itself then.",
    });
  }

  private tooLarge(entryBytes: number): MillraceError {
    const { messageBytesMax } = this.settings;
    return new MillraceError("MESSAGE_TOO_LARGE", `A message takes ${entryBytes} bytes in the journal; that is too large.`, {
      domain: "user",
      hint: `At most ${messageBytesMax} bytes of content, and ${this.entryBytesMax} with address and destinations, fit into a journal file.`,
    });
  }
}
