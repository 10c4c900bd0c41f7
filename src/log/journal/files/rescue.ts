import type { ByteBudget } from "../../../base/byteBudget.ts";
import { lowerBound } from "../../../base/lowerBound.ts";
import { nextTurn } from "../../../base/nextTurn.ts";
import type { JournalTenants } from "../../contract/queueJournal.ts";
import { type Cut, commitEntryBytes, EntryKind, endEntryBytes, fileHeaderBytes } from "./format.ts";
import type { JournalFile, JournalTail } from "./journalFile.ts";
import type { JournalFiles } from "./journalFiles.ts";
import { destinationOf, messageAt } from "./journalMessages.ts";
import { WriteBuffer, WriteChunk } from "./writeChunk.ts";

/** Written at once: enough for the disk, and little memory beside what is rescued. */
const pieceBytes = 1024 * 1024;
/** Looked at before the loop goes on; about 2 ms. */
const tenantsPerSliceMax = 2000;

/** Entries back to back, and where they were to be. */
export interface HeldBytes {
  readonly file: JournalFile;
  readonly fileOffset: number;
  readonly bytes: Buffer;
}

export const heldBytesOf = ({ file, fileOffset, written }: WriteChunk): HeldBytes => ({ file, fileOffset, bytes: written });

/** What was written without a sync, copied: the chunk's buffer is used again. */
export class UnsyncedBytes {
  private held: HeldBytes[] = [];
  length = 0;

  add(chunk: WriteChunk): void {
    if (chunk.used === 0) return;
    this.held.push({ ...heldBytesOf(chunk), bytes: Buffer.from(chunk.written) });
    this.length += chunk.used;
  }

  takeAll(): readonly HeldBytes[] {
    const { held } = this;
    this.held = [];
    this.length = 0;
    return held;
  }
}

/**
 * What a file that failed may not hold, and memory does: it is written once more, into the next file, before anything else goes on. Then
 * the queues are told where it is. Until then it is read at its old places, from memory.
 */
export class Rescue {
  /** Where each message is now, in the order in which they lie in `held`. */
  private places: number[] = [];
  /** The sequence of the file that begins with the cut. */
  begin = 0;

  constructor(
    /** In order. */
    private readonly held: readonly HeldBytes[],
    readonly cut: Cut,
    private readonly files: JournalFiles,
    private readonly budget: ByteBudget,
  ) {}

  at(position: number): HeldBytes | undefined {
    const endsBehind = (one: HeldBytes): boolean => this.beginOf(one) + one.bytes.length > position;
    const found = this.held[lowerBound(0, this.held.length, (n) => endsBehind(this.held[n] as HeldBytes))];
    return found !== undefined && this.beginOf(found) <= position ? found : undefined;
  }

  /** Again, from the beginning, after it failed: into yet another file. @returns where to go on, with all of it synced */
  async write(processId: Uint8Array): Promise<JournalTail> {
    const { fileBytes } = this.files;
    this.places = [];
    let chunk = await this.nextFile();
    this.begin = chunk.file.sequence;
    chunk.cut(this.cut);
    for (const { bytes } of this.held) {
      for (let at = 0, length = 0; at < bytes.length; at += length) {
        length = bytes.readUInt32LE(at);
        const kind = bytes[at + 12];
        if (kind === EntryKind.commit || kind === EntryKind.end) continue;
        if (chunk.used > pieceBytes) chunk = await this.nextPiece(chunk);
        if (chunk.end + commitEntryBytes + length + endEntryBytes > fileBytes) {
          chunk.finishFile();
          await put(chunk, true);
          chunk = await this.nextFile();
        }
        // after the cut, which is to be the first of its file
        if (!chunk.committed) chunk.commit(0, processId);
        if (kind === EntryKind.message) this.places.push(chunk.file.sequence * fileBytes + chunk.end);
        chunk.again(bytes, at, length);
      }
    }
    await put(chunk, true);
    return { file: chunk.file, offset: chunk.end, chain: chunk.chain };
  }

  /** Once all of it is durable. The pin of a drop stays where it was: no newer file goes before that one. */
  async tellTenants(tenants: JournalTenants): Promise<void> {
    let told = 0;
    let place = 0;
    for (const one of this.held) {
      const { file, bytes } = one;
      const begin = this.beginOf(one);
      for (let at = 0, length = 0; at < bytes.length; at += length) {
        length = bytes.readUInt32LE(at);
        if (bytes[at + 12] !== EntryKind.message) continue;
        const to = this.places[place++] as number;
        this.movePins(file, to, tell(tenants, bytes, at, length, begin + at, to));
        if (++told % tenantsPerSliceMax === 0) await nextTurn();
      }
    }
  }

  private beginOf({ file, fileOffset }: HeldBytes): number {
    return file.sequence * this.files.fileBytes + fileOffset;
  }

  private movePins(from: JournalFile, to: number, pins: number): void {
    const file = this.files.at(Math.floor(to / this.files.fileBytes));
    if (file !== undefined) file.pins += pins;
    for (let n = 0; n < pins; n++) from.unpin();
  }

  private async nextFile(): Promise<WriteChunk> {
    const file = this.files.next();
    await file.ready;
    return new WriteChunk(file, fileHeaderBytes, file.headerCrc, new WriteBuffer(this.files.fileBytes), this.budget);
  }

  private async nextPiece(chunk: WriteChunk): Promise<WriteChunk> {
    await put(chunk, false);
    return new WriteChunk(chunk.file, chunk.end, chunk.chain, chunk.buffer, this.budget);
  }
}

async function put(chunk: WriteChunk, sync: boolean): Promise<void> {
  try {
    const handle = await chunk.file.ready;
    await handle.write(chunk.buffer.bytes, 0, chunk.used, chunk.fileOffset);
    if (sync) await handle.sync();
  } finally {
    chunk.settle();
  }
}

/** @returns how many of the message's pins are at its new place from now on */
function tell(tenants: JournalTenants, bytes: Buffer, at: number, length: number, from: number, to: number): number {
  const message = messageAt(bytes, at, length);
  let moved = 0;
  for (let n = 0; n < message.destinations; n++) {
    const { queue, offset } = destinationOf(bytes, message, n);
    if (tenants.moved(queue, offset, from, to)) moved++;
    if (message.dedupeId !== undefined && tenants.idMoved(queue, message.dedupeId, from, to)) moved++;
  }
  return moved;
}
