import { crc32cFollowedBy, crc32cRange } from "../../../base/crc32c.ts";
import { MillraceError } from "../../../base/errors.ts";
import type { File } from "../../../base/fileSystem.ts";
import {
  BATCH_HEADER_BYTES,
  BATCH_MAGIC,
  BatchField,
  baseOffsetAt,
  batchBytesAt,
  CRC_COVERS_FROM,
  lastOffsetAt,
} from "../../../record/batchHeader.ts";
import { hasOwnOffset } from "../../../record/batchMark.ts";
import { validateBatchShape } from "../../../record/validateBatch.ts";
import { SEGMENT_OFFSETS_MAX } from "./offsetIndex.ts";

/** At a time: what is looked for is near mostly, and far sometimes. */
const FIRST_READ_BYTES = 64 * 1024;
const READ_BYTES_MAX = 1024 * 1024;
/** So much may be read to check what looks like batches and is none, and so much more for each byte that is searched. */
const CHECKED_BYTES = 256 * 1024 * 1024;
const CHECKED_BYTES_A_BYTE = 4;
/** A check counts as so much at least; what is full of the smallest ones of all, of 68 bytes, is within the budget. */
const CHECK_BYTES_MIN = 256;
/** A check by a read of its own takes some 50 µs, in which so much can be checked. */
const READ_CHECK_BYTES_MIN = 16 * 1024;
/** Larger batches are read again to be checked: so a search does not keep others waiting for long. */
const CHECKED_AT_ONCE_BYTES = 32 * 1024;
const CRC_READ_BYTES = 64 * 1024;
/** And so much searched behind a batch that was found, beside once all that is searched. */
const SEARCHED_ON_BYTES = 64 * 1024 * 1024;

/**
 * What bounds a search: each byte may look like the beginning of a batch as long as a client likes, and its checksum is over all of that. One
 * that is shared by searches bounds them together.
 */
export class SearchBudget {
  private toCheck: number;
  private toSearchOn: number;

  /** @param searchedBytes over which the searches go. */
  constructor(searchedBytes: number) {
    this.toCheck = CHECKED_BYTES + CHECKED_BYTES_A_BYTE * searchedBytes;
    this.toSearchOn = SEARCHED_ON_BYTES + searchedBytes;
  }

  /** Throws LOG_CORRUPT if too much was checked: nobody knows what is there. */
  check(bytes: number, position: number, isRead: boolean): void {
    this.toCheck -= Math.max(bytes, isRead ? READ_CHECK_BYTES_MIN : CHECK_BYTES_MIN);
    if (this.toCheck < 0) throw tooMany(position);
  }

  /** May it be searched on for something better than what was found? */
  searchesOn(bytes: number): boolean {
    this.toSearchOn -= bytes;
    return this.toSearchOn >= 0;
  }
}

/** Which base offsets a batch can have: from the first on, before the other. */
export interface OffsetRange {
  readonly from: number;
  readonly before: number;
}

/**
 * Of batches behind a bad one, which has an offset itself. The same for all who look: else a reader takes bytes for a batch that a start
 * did not take for one.
 * @param nextOffset behind what is good before the bad one.
 * @param endOffset of the segment, where it is known.
 */
export const offsetsBehind = (nextOffset: number, baseOffset: number, endOffset = Number.POSITIVE_INFINITY): OffsetRange => ({
  from: nextOffset + 1,
  before: Math.min(endOffset, baseOffset + SEGMENT_OFFSETS_MAX + 1),
});

/** The header of what may be a batch. */
export interface Lookalike {
  readonly position: number;
  readonly header: Buffer;
}

/** Looks for whole batches of the log among bytes of which nothing is known, up to a position of a segment's file. */
export class Lookalikes {
  /** What was read last of the file, and where that begins. */
  private held: { readonly bytes: Buffer; readonly start: number } | undefined;
  private crcBuffer: Buffer | undefined;

  constructor(
    private readonly file: File,
    private readonly to: number,
    private readonly offsets: OffsetRange,
    private readonly budget: SearchBudget,
  ) {}

  /**
   * At every byte from a position on, as bad bytes say nothing of where the next batch begins.
   * @param isOver is asked now and then whether it is far enough.
   */
  async *from(position: number, isOver: (position: number) => boolean = () => false): AsyncGenerator<Lookalike> {
    const { file, to, offsets } = this;
    if (offsets.from >= offsets.before) return;
    let buffer: Buffer = Buffer.allocUnsafeSlow(FIRST_READ_BYTES);
    for (let start = position; to - start >= BATCH_HEADER_BYTES && !isOver(start); ) {
      const length = await file.read(buffer, 0, Math.min(buffer.length, to - start), start);
      const positions = length - BATCH_HEADER_BYTES + 1;
      if (positions <= 0) return;
      this.held = { bytes: buffer.subarray(0, length), start };
      for (let at = 0; at < positions; at++) {
        if (buffer[at + BatchField.magic] !== BATCH_MAGIC || !hasOwnOffset(buffer, at)) continue;
        const header = Buffer.from(buffer.subarray(at, at + BATCH_HEADER_BYTES));
        if (this.isShaped(header, start + at)) yield { position: start + at, header };
      }
      start += positions;
      if (buffer.length < READ_BYTES_MAX) buffer = Buffer.allocUnsafeSlow(2 * buffer.length);
    }
  }

  /** Undefined: there is no whole batch. */
  async at(position: number): Promise<Lookalike | undefined> {
    const header = await readHeader(this.file, position, this.to);
    if (header === undefined || !hasOwnOffset(header, 0) || !this.isShaped(header, position)) return undefined;
    const found = { position, header };
    return (await this.isWhole(found)) ? found : undefined;
  }

  /** Is it what it looks like? Throws LOG_CORRUPT if the budget is used up. */
  async isWhole({ position, header }: Lookalike): Promise<boolean> {
    const bytes = batchBytesAt(header, 0);
    const expected = header.readUInt32BE(BatchField.crc);
    const { held } = this;
    const at = position - (held?.start ?? 0);
    // with a read for each one 4 MiB of small batches took 6 s instead of 0.3
    if (held !== undefined && bytes <= CHECKED_AT_ONCE_BYTES && at >= 0 && at + bytes <= held.bytes.length) {
      this.budget.check(bytes, position, false);
      return crc32cRange(held.bytes, at + CRC_COVERS_FROM, at + bytes) === expected;
    }
    this.budget.check(bytes, position, true);
    this.crcBuffer ??= Buffer.allocUnsafeSlow(CRC_READ_BYTES);
    const crc = new RunningCrc(this.file, position + CRC_COVERS_FROM, this.crcBuffer);
    return (await crc.upTo(position + bytes)) === expected;
  }

  private isShaped(header: Buffer, position: number): boolean {
    if (validateBatchShape(header, 0, BATCH_HEADER_BYTES) !== undefined || position + batchBytesAt(header, 0) > this.to) return false;
    return baseOffsetAt(header, 0) >= this.offsets.from && lastOffsetAt(header, 0) < this.offsets.before;
  }
}

/** Undefined: the file ends before it does. */
export async function readHeader(file: File, position: number, to: number): Promise<Buffer | undefined> {
  if (to - position < BATCH_HEADER_BYTES) return undefined;
  const header = Buffer.allocUnsafe(BATCH_HEADER_BYTES);
  return (await file.read(header, 0, BATCH_HEADER_BYTES, position)) === BATCH_HEADER_BYTES ? header : undefined;
}

/** The checksum of a file's bytes from one position to others, one after the other. */
export class RunningCrc {
  private crc = 0;

  constructor(
    private readonly file: File,
    private position: number,
    private readonly buffer: Buffer = Buffer.allocUnsafe(CRC_READ_BYTES),
  ) {}

  async upTo(position: number): Promise<number> {
    const { buffer } = this;
    while (this.position < position) {
      const length = await this.file.read(buffer, 0, Math.min(buffer.length, position - this.position), this.position);
      if (length === 0) return -1;
      this.crc = crc32cFollowedBy(this.crc, buffer.subarray(0, length)) >>> 0;
      this.position += length;
    }
    return this.crc;
  }
}

/** What a search found, or this if it came to no end. */
export async function unlessUnclear<T, U>(search: Promise<T>, unclear: U): Promise<T | U> {
  try {
    return await search;
  } catch (error) {
    if (error instanceof MillraceError) return unclear;
    throw error;
  }
}

const tooMany = (position: number): MillraceError =>
  new MillraceError("LOG_CORRUPT", "Too much behind bad bytes looks like batches and is none: where the next one begins is not clear.", {
    domain: "external",
    where: `byte ${position}`,
  });
