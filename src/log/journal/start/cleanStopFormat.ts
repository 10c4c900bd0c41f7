/**
 * What a clean stop leaves beside the journal's files, so that the next start need not read them: where the queues' copies are. Little endian.
 *
 *   file     queues.stopped: header, queues, CRC-32C u32 of all before
 *   header   magic "MRSTOPED" | format version u32 | bytes of a journal file u32 | the journal's id, 4 bytes | files u32 |
 *            files x sequence f64, oldest first | sequence of the first one in which something lives f64 | where the last one goes on u32 |
 *            CRC-32C u32 of the entry before that | queues u32 | copies of all of them u32
 *   queue    queue u32 | next offset f64 | copies u32 | ids u32 | copies x (offset f64, position f64, content bytes u32) |
 *            ids x (position f64, timestamp f64, bytes u16, id)
 *            One of the queues has the highest number that was ever given: if it is gone, with nothing.
 *
 * Invariants:
 * - It is written when the journal is synced and closed to the queues, after the `dead` files of its segments; whole and synced before it gets
 *   its name. It says what the entries say, and what of it lives: damaged, or missing, it is left aside, and those are read.
 * - It counts for one start, and only with the very files of which it tells: it goes, durably, before anything is written into the journal.
 * - Copies and ids in it lie in the journal's files; what lies in segments is found there. Of a file from which everything was moved, and
 *   that is not used again yet, the segment counts: that is what `first` is for. (Without this, the file would.)
 */
import { crc32c } from "../../../base/crc32c.ts";
import { MillraceError } from "../../../base/errors.ts";
import { nextTurn } from "../../../base/nextTurn.ts";
import type { StoppedQueue } from "../../contract/queueJournal.ts";
import { journalIdBytes } from "../files/format.ts";
import { Slice } from "../segments/slice.ts";
import type { ChainPlace } from "./recovery.ts";

const magic = "MRSTOPED";
const formatVersion = 1;
const versionAt = 8;
const headBytes = 24;
/** Behind the sequences. */
const tailBytes = 24;
const queueHeadBytes = 20;
const copyBytes = 20;
const idHeadBytes = 18;
const crcBytes = 4;
/** 3 million copies: of more the next start reads the journal. */
export const stoppedBytesMax = 64 * 1024 * 1024;

/** How the files were left. */
export interface StoppedFiles {
  readonly fileBytes: number;
  readonly journalId: Buffer;
  /** Oldest first. */
  readonly sequences: readonly number[];
  /** What is in older ones lives in segments. */
  readonly first: number;
  /** Where the last one goes on. */
  readonly tail: ChainPlace;
}

export interface CleanStop extends StoppedFiles {
  readonly queues: Iterable<StoppedQueue>;
}

/** Undefined: there is too much of it. */
export async function encodeStop(files: StoppedFiles, queues: Iterable<StoppedQueue>): Promise<Buffer | undefined> {
  const parts: Buffer[] = [Buffer.alloc(headBytes + 8 * files.sequences.length + tailBytes)];
  let bytes = (parts[0] as Buffer).length + crcBytes;
  let copies = 0;
  const slice = new Slice();
  for (const queue of queues) {
    const part = encodeQueue(queue);
    bytes += part.length;
    if (bytes > stoppedBytesMax) return undefined;
    parts.push(part);
    copies += queue.copies.offsets.length;
    if (slice.isOver(1 + queue.copies.offsets.length / 4)) await nextTurn();
  }
  putHeader(parts[0] as Buffer, files, parts.length - 1, copies);
  const whole = Buffer.concat(parts, bytes);
  whole.writeUInt32LE(crc32c(whole.subarray(0, -crcBytes)), bytes - crcBytes);
  return whole;
}

function putHeader(header: Buffer, { fileBytes, journalId, sequences, first, tail }: StoppedFiles, queues: number, copies: number): void {
  header.write(magic, 0, "latin1");
  header.writeUInt32LE(formatVersion, versionAt);
  header.writeUInt32LE(fileBytes, 12);
  journalId.copy(header, 16, 0, journalIdBytes);
  header.writeUInt32LE(sequences.length, 20);
  let at = headBytes;
  for (const sequence of sequences) at = header.writeDoubleLE(sequence, at);
  at = header.writeDoubleLE(first, at);
  at = header.writeUInt32LE(tail.at, at);
  at = header.writeUInt32LE(tail.chain, at);
  at = header.writeUInt32LE(queues, at);
  header.writeUInt32LE(copies, at);
}

function encodeQueue({ queue, nextOffset, copies, ids }: StoppedQueue): Buffer {
  const names = ids.map(({ dedupeId }) => Buffer.from(dedupeId));
  const idBytes = names.reduce((sum, { length }) => sum + idHeadBytes + length, 0);
  const { offsets, positions, bytes: contentBytes } = copies;
  const bytes = Buffer.allocUnsafe(queueHeadBytes + offsets.length * copyBytes + idBytes);
  let at = bytes.writeUInt32LE(queue, 0);
  at = bytes.writeDoubleLE(nextOffset, at);
  at = bytes.writeUInt32LE(offsets.length, at);
  at = bytes.writeUInt32LE(ids.length, at);
  for (let n = 0; n < offsets.length; n++) {
    at = bytes.writeDoubleLE(offsets[n] as number, at);
    at = bytes.writeDoubleLE(positions[n] as number, at);
    at = bytes.writeUInt32LE(contentBytes[n] as number, at);
  }
  for (const [n, { position, timestamp }] of ids.entries()) {
    const name = names[n] as Buffer;
    at = bytes.writeDoubleLE(position, at);
    at = bytes.writeDoubleLE(timestamp, at);
    at = bytes.writeUInt16LE(name.length, at);
    at += name.copy(bytes, at);
  }
  return bytes;
}

/** Undefined: it is damaged. */
export function decodeStop(bytes: Buffer, file: string): CleanStop | undefined {
  const end = bytes.length - crcBytes;
  if (end < headBytes + tailBytes || bytes.toString("latin1", 0, versionAt) !== magic) return undefined;
  if (bytes.readUInt32LE(end) !== crc32c(bytes.subarray(0, end))) return undefined;
  const version = bytes.readUInt32LE(versionAt);
  if (version > formatVersion) {
    throw new MillraceError(
      "JOURNAL_TOO_NEW",
      `The stop was written in format version ${version}; this release reads up to ${formatVersion}.`,
      {
        domain: "user",
        where: file,
        hint: "Start the newer version of millrace that wrote it, or remove the file: the start is slower then.",
      },
    );
  }
  const files = bytes.readUInt32LE(20);
  const sequences = Array.from({ length: files }, (_, n) => bytes.readDoubleLE(headBytes + 8 * n));
  const at = headBytes + 8 * files;
  return {
    fileBytes: bytes.readUInt32LE(12),
    journalId: Buffer.from(bytes.subarray(16, 16 + journalIdBytes)),
    sequences,
    first: bytes.readDoubleLE(at),
    tail: { at: bytes.readUInt32LE(at + 8), chain: bytes.readUInt32LE(at + 12) },
    queues: queuesOf(bytes, at + 16),
  };
}

function* queuesOf(bytes: Buffer, begin: number): Generator<StoppedQueue> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const copies = view.getUint32(begin + 4, true);
  // one piece of memory for all: of 10,000 small ones each would cost more than what is put there
  const [allOffsets, allPositions, allBytes] = [new Float64Array(copies), new Float64Array(copies), new Uint32Array(copies)];
  let at = begin + 8;
  let next = 0;
  for (let left = view.getUint32(begin, true); left > 0; left--) {
    const queue = view.getUint32(at, true);
    const nextOffset = view.getFloat64(at + 4, true);
    const first = next;
    const end = first + view.getUint32(at + 12, true);
    const idCount = view.getUint32(at + 16, true);
    const ids: StoppedQueue["ids"][number][] = [];
    at += queueHeadBytes;
    for (; next < end; next++, at += copyBytes) {
      allOffsets[next] = view.getFloat64(at, true);
      allPositions[next] = view.getFloat64(at + 8, true);
      allBytes[next] = view.getUint32(at + 16, true);
    }
    for (let n = 0; n < idCount; n++) {
      const [position, timestamp] = [view.getFloat64(at, true), view.getFloat64(at + 8, true)];
      const idEnd = at + idHeadBytes + view.getUint16(at + 16, true);
      ids.push({ dedupeId: bytes.toString("utf8", at + idHeadBytes, idEnd), position, timestamp });
      at = idEnd;
    }
    const of = {
      offsets: allOffsets.subarray(first, end),
      positions: allPositions.subarray(first, end),
      bytes: allBytes.subarray(first, end),
    };
    yield { queue, nextOffset, copies: of, ids };
  }
}
