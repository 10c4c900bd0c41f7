/**
 * Key to latest offset, in memory that is allocated once: what compaction knows of the part of a log that it reads.
 *
 *   slots    hash i32, place of the key + 1 (0: empty) i32, offset f64: open addressing, three quarters full at most
 *   arena    per key: length u32, then the key's bytes; of a long key its SHA-256, marked by the top bit of the length
 *
 * Keys are compared byte for byte, so two of one hash are two keys. Nothing grows: no pause for a larger table.
 */
import { createHash } from "node:crypto";

const SLOT_BYTES = 16;
const SLOTS_MIN = 64;
/** A longer key is kept as its SHA-256, so that one key can't fill the memory. */
const WHOLE_KEY_BYTES_MAX = 1024;
const DIGEST_BYTES = 32;
const DIGEST_MARK = 0x80000000;
const MARK_OF_DIGEST = (DIGEST_BYTES | DIGEST_MARK) >>> 0;
/** The SHA-256 of 16 MiB takes 11 ms, where the processor has instructions for it. */
const DIGESTED_AT_ONCE_BYTES = 256 * 1024;
const LENGTH_BYTES = 4;
/** Place in the arena is an int32. */
const ARENA_BYTES_MAX = 1024 * 1024 * 1024;

export class KeyOffsets {
  private readonly mask: number;
  private readonly countMax: number;
  private arenaUsed = 0;
  private count = 0;
  private foundSlot = 0;
  private foundHash = 0;

  private constructor(
    private readonly hashes: Int32Array,
    private readonly places: Int32Array,
    private readonly offsets: Float64Array,
    private readonly arena: Buffer,
  ) {
    this.mask = hashes.length - 1;
    this.countMax = Math.floor((hashes.length * 3) / 4);
  }

  /**
   * Half of the memory for the slots, half for the keys. `pause` lets everyone else have a turn: V8 may collect before each large piece, and
   * with 64 MiB all pieces in one turn took up to 24 ms of the processor, the longest of them 12.
   */
  static async create(memoryBytesMax: number, pause: () => Promise<void>): Promise<KeyOffsets> {
    let slots = SLOTS_MIN;
    while (slots * 2 * SLOT_BYTES <= memoryBytesMax / 2) slots *= 2;
    const hashes = new Int32Array(slots);
    await pause();
    const places = new Int32Array(slots);
    await pause();
    const offsets = new Float64Array(slots);
    await pause();
    const arenaBytes = Math.min(Math.floor(memoryBytesMax / 2), ARENA_BYTES_MAX);
    const arena = Buffer.allocUnsafeSlow(Math.max(arenaBytes, LENGTH_BYTES + WHOLE_KEY_BYTES_MAX));
    await pause();
    return new KeyOffsets(hashes, places, offsets, arena);
  }

  get size(): number {
    return this.count;
  }

  /** The key is `bytes[at, at + length)`. False: there is no room for another key. */
  set(bytes: Buffer, at: number, length: number, offset: number): boolean {
    return length > WHOLE_KEY_BYTES_MAX ? this.setDigest(digestOf(bytes, at, length), offset) : this.put(bytes, at, length, length, offset);
  }

  /** The same for a key that takes turns. */
  setDigest(digest: Buffer, offset: number): boolean {
    return this.put(digest, 0, DIGEST_BYTES, MARK_OF_DIGEST, offset);
  }

  /** -1: the key is not there. */
  get(bytes: Buffer, at: number, length: number): number {
    if (length > WHOLE_KEY_BYTES_MAX) return this.getDigest(digestOf(bytes, at, length));
    return this.find(bytes, at, length, length) ? (this.offsets[this.foundSlot] as number) : -1;
  }

  getDigest(digest: Buffer): number {
    return this.find(digest, 0, DIGEST_BYTES, MARK_OF_DIGEST) ? (this.offsets[this.foundSlot] as number) : -1;
  }

  private put(key: Buffer, at: number, length: number, mark: number, offset: number): boolean {
    if (!this.find(key, at, length, mark)) {
      if (this.count >= this.countMax || this.arenaUsed + LENGTH_BYTES + length > this.arena.length) return false;
      this.hashes[this.foundSlot] = this.foundHash;
      this.places[this.foundSlot] = this.arenaUsed + 1;
      this.arena.writeUInt32LE(mark, this.arenaUsed);
      key.copy(this.arena, this.arenaUsed + LENGTH_BYTES, at, at + length);
      this.arenaUsed += LENGTH_BYTES + length;
      this.count++;
    }
    this.offsets[this.foundSlot] = offset;
    return true;
  }

  /** Leaves the key's slot, or the empty one where it would go, in `foundSlot`. */
  private find(key: Buffer, at: number, length: number, mark: number): boolean {
    const { hashes, places, mask } = this;
    const hash = hashOf(key, at, at + length);
    this.foundHash = hash;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const place = places[slot] as number;
      this.foundSlot = slot;
      if (place === 0) return false;
      if (hashes[slot] === hash && this.isAt(place - 1, key, at, length, mark)) return true;
    }
  }

  private isAt(place: number, key: Buffer, at: number, length: number, mark: number): boolean {
    const { arena } = this;
    if (arena.readUInt32LE(place) !== mark) return false;
    const from = place + LENGTH_BYTES;
    if (length > 48) return key.compare(arena, from, from + length, at, at + length) === 0;
    for (let i = 0; i < length; i++) if (key[at + i] !== arena[from + i]) return false;
    return true;
  }
}

/** Has a key of so many bytes to be digested in turns, and looked for by its digest? */
export const takesTurns = (keyBytes: number): boolean => keyBytes > DIGESTED_AT_ONCE_BYTES;

export function* digestInTurns(bytes: Buffer, at: number, length: number): Generator<undefined, Buffer> {
  const hash = createHash("sha256");
  for (let from = at; from < at + length; from += DIGESTED_AT_ONCE_BYTES) {
    hash.update(bytes.subarray(from, Math.min(from + DIGESTED_AT_ONCE_BYTES, at + length)));
    yield;
  }
  return hash.digest();
}

const digestOf = (bytes: Buffer, at: number, length: number): Buffer =>
  createHash("sha256")
    .update(bytes.subarray(at, at + length))
    .digest();

/** MurmurHash3, 32 bits. */
function hashOf(bytes: Buffer, from: number, end: number): number {
  let hash = 0;
  let at = from;
  for (; at + 4 <= end; at += 4) {
    hash ^= scrambled(bytes.readInt32LE(at));
    hash = Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64;
  }
  let rest = 0;
  for (let shift = 0; at < end; at++, shift += 8) rest |= (bytes[at] as number) << shift;
  hash ^= scrambled(rest) ^ (end - from);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

function scrambled(word: number): number {
  const mixed = Math.imul(word, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}
