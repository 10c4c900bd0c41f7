import type { ByteBudget } from "../../../base/byteBudget.ts";
import { crc32cFollowedBy, crc32cGoingOn, crc32cRange } from "../../../base/crc32c.ts";
import type { MillraceError } from "../../../base/errors.ts";
import type { Receipt } from "../../../record/receipt.ts";
import type { Destination, JournalMessage } from "../../contract/queueJournal.ts";
import {
  type Cut,
  commitEntryBytes,
  cutEntryBytes,
  destinationBytes,
  EntryFlag,
  EntryKind,
  entryHeadBytes,
  messageHeadBytes,
} from "./format.ts";
import type { JournalFile } from "./journalFile.ts";

/**
 * Room of a write buffer that is kept for the next one; larger ones, of a burst, are let go. Publishers with 4 MiB in flight need a little
 * more than that, and room that is made anew for each write costs a page fault for every 4 KiB.
 */
const keptBytesMax = 8 * 1024 * 1024;
const firstBytes = 256 * 1024;

/** A buffer that grows by doubling; two of them take turns. */
export class WriteBuffer {
  bytes: Buffer;
  view: DataView;

  constructor(fileBytes: number) {
    this.bytes = Buffer.allocUnsafeSlow(Math.min(firstBytes, fileBytes));
    this.view = new DataView(this.bytes.buffer);
  }

  grow(need: number, keep: number): void {
    let size = this.bytes.length * 2;
    while (size < need) size *= 2;
    const larger = Buffer.allocUnsafeSlow(size);
    this.bytes.copy(larger, 0, 0, keep);
    this.bytes = larger;
    this.view = new DataView(larger.buffer);
  }

  get worthKeeping(): boolean {
    return this.bytes.length <= keptBytesMax;
  }
}

/** What one write will take: entries back to back for one place in one file, and who waits for them. */
export class WriteChunk {
  used = 0;
  needsSync = false;
  /** Its `commit` is in it. */
  committed = false;
  private readonly receipts: Receipt[] = [];
  private lastReceipt: Receipt | undefined;

  constructor(
    readonly file: JournalFile,
    readonly fileOffset: number,
    private previous: number,
    readonly buffer: WriteBuffer,
    private readonly budget: ByteBudget,
  ) {}

  get end(): number {
    return this.fileOffset + this.used;
  }

  /** What is in it so far. */
  get written(): Buffer {
    return this.buffer.bytes.subarray(0, this.used);
  }

  /** Of the last entry, to be continued by the next chunk. */
  get chain(): number {
    return this.previous;
  }

  join(receipt: Receipt): void {
    this.needsSync = true;
    if (receipt === this.lastReceipt) return;
    this.lastReceipt = receipt;
    receipt.join();
    this.receipts.push(receipt);
  }

  /** It is on the disk, or failed. */
  settle(failure?: MillraceError): void {
    this.budget.release(this.used);
    for (const receipt of this.receipts) receipt.leave(failure);
  }

  /** All the bytes of the entry, its CRC last. Everything was measured beforehand: `length` is the entry's, `dedupeBytes` the id's. */
  message(length: number, dedupeBytes: number, message: JournalMessage, destinations: readonly Destination[]): void {
    const start = this.reserve(length);
    const { bytes, view } = this.buffer;
    const { address, content, dedupeId } = message;
    view.setUint8(start + 12, EntryKind.message);
    view.setUint8(start + 13, (message.persistent ? EntryFlag.persistent : 0) | (dedupeId === undefined ? 0 : EntryFlag.dedupe));
    view.setUint16(start + 14, message.contentFormat, true);
    view.setFloat64(start + 16, message.timestamp, true);
    view.setUint32(start + 24, destinations.length, true);
    view.setUint16(start + 28, address.length, true);
    view.setUint16(start + 30, dedupeBytes, true);
    let at = start + messageHeadBytes;
    for (let n = 0; n < destinations.length; n++) {
      const destination = destinations[n] as Destination;
      view.setUint32(at, destination.queue, true);
      view.setFloat64(at + 4, destination.offset, true);
      at += destinationBytes;
    }
    for (let n = 0; n < address.length; n++) bytes[at++] = address[n] as number; // short: a call would take longer
    if (dedupeId !== undefined) at += bytes.write(dedupeId, at, "utf8");
    bytes.set(content, at);
    view.setUint32(start, length, true);
    view.setUint32(start + 8, this.previous, true);
    // of the content where it came from: a view of the copy for each message costs 150 ns, and as much for the collector
    this.previous = crc32cFollowedBy(crc32cGoingOn(0, bytes, start + 8, at), content);
    view.setUint32(start + 4, this.previous, true);
  }

  acknowledgements(from: Uint8Array, byteLength: number): void {
    const start = this.reserve(entryHeadBytes + byteLength);
    this.head(start, EntryKind.acknowledgements);
    this.buffer.bytes.set(from.subarray(0, byteLength), start + entryHeadBytes);
    this.seal(start, entryHeadBytes + byteLength);
  }

  dropped(queue: number, belowOffset: number): void {
    const length = entryHeadBytes + destinationBytes;
    const start = this.reserve(length);
    this.head(start, EntryKind.dropped);
    this.buffer.view.setUint32(start + entryHeadBytes, queue, true);
    this.buffer.view.setFloat64(start + entryHeadBytes + 4, belowOffset, true);
    this.seal(start, length);
  }

  /** The first of each write. */
  commit(syncedBelow: number, processId: Uint8Array): void {
    this.committed = true;
    const start = this.reserve(commitEntryBytes);
    this.head(start, EntryKind.commit);
    this.buffer.view.setFloat64(start + entryHeadBytes, this.file.sequence, true);
    this.buffer.view.setUint32(start + entryHeadBytes + 8, syncedBelow, true);
    this.buffer.bytes.set(processId, start + entryHeadBytes + 12);
    this.seal(start, commitEntryBytes);
  }

  /** Begins a file that takes the place of one that failed. */
  cut({ sequence, countsTo }: Cut): void {
    for (let times = 0; times < 2; times++) {
      const start = this.reserve(cutEntryBytes);
      this.head(start, EntryKind.cut);
      this.buffer.view.setFloat64(start + entryHeadBytes, this.file.sequence, true);
      this.buffer.view.setFloat64(start + entryHeadBytes + 8, sequence, true);
      this.buffer.view.setUint32(start + entryHeadBytes + 16, countsTo, true);
      this.seal(start, cutEntryBytes);
    }
  }

  /** An entry that another file was to hold, linked into this one's chain. */
  again(from: Buffer, at: number, length: number): void {
    const start = this.reserve(length);
    this.buffer.bytes.set(from.subarray(at, at + length), start);
    this.seal(start, length);
  }

  finishFile(): void {
    const start = this.reserve(entryHeadBytes);
    this.head(start, EntryKind.end);
    this.seal(start, entryHeadBytes);
    this.needsSync = true;
  }

  private reserve(length: number): number {
    const start = this.used;
    if (start + length > this.buffer.bytes.length) this.buffer.grow(start + length, start);
    this.used = start + length;
    this.budget.take(length);
    return start;
  }

  private head(start: number, kind: number): void {
    this.buffer.view.setUint32(start + 12, kind, true); // no flags, no content format
  }

  private seal(start: number, length: number): void {
    const { bytes, view } = this.buffer;
    view.setUint32(start, length, true);
    view.setUint32(start + 8, this.previous, true);
    this.previous = crc32cRange(bytes, start + 8, start + length);
    view.setUint32(start + 4, this.previous, true);
  }
}
