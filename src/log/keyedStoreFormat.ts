/**
 * A file of a keyed store, of which there are two alike (keyedStoreTwins.ts). Little endian.
 *
 *   header  magic "MRKS" | container version u16 | content version u16 | name length u8, name | CRC-32C u32 of all before
 *   entry   marker u32 | payload length u32 | CRC-32C u32 of the payload | payload: JSON [[key, value] | [key], ...]
 *
 * Invariants:
 * - The header's layout is that of every version: one whose checksum is wrong is damaged, not of a newer release.
 * - One entry is one write followed by one sync, so after a loss of power at most the last entry is broken. `[key]` removes.
 * - The marker has bytes that no UTF-8 text has: a marker with a right CRC after broken bytes proves that these were once
 *   followed by a finished entry, thus are not a torn end but damage.
 */
import { crc32c } from "../base/crc32c.ts";
import { MillraceError } from "../base/errors.ts";
import type { Json } from "./contract/keyedStore.ts";

type KeyedChange = readonly [key: string, value: Json] | readonly [key: string];

const magic = "MRKS";
const containerVersion = 1;
const marker = Buffer.from([0xff, 0xfe, 0xc0, 0xf5]);
const entryHeadBytes = 12;
/** The checksum of nothing is 0: without a least, a marker before zeros would be an entry. */
const payloadBytesMin = 2;

export interface StoreIdentity {
  readonly path: string;
  /** What the store is of ("topology"): another store's file in its place is refused. */
  readonly name: string;
  /** Version of what the values mean; newer files are refused. */
  readonly formatVersion: number;
}

export function encodeHeader(identity: StoreIdentity): Buffer {
  const name = Buffer.from(identity.name);
  const header = Buffer.alloc(9 + name.length + 4);
  header.write(magic, 0, "latin1");
  header.writeUInt16LE(containerVersion, 4);
  header.writeUInt16LE(identity.formatVersion, 6);
  header.writeUInt8(name.length, 8);
  name.copy(header, 9);
  header.writeUInt32LE(crc32c(header.subarray(0, -4)), header.length - 4);
  return header;
}

/** @returns where the first entry begins */
export function checkHeader(bytes: Buffer, identity: StoreIdentity): number {
  const end = bytes.length < 9 ? Infinity : 9 + bytes.readUInt8(8) + 4;
  if (end > bytes.length || bytes.toString("latin1", 0, 4) !== magic)
    throw new KeyedStoreDamage(identity.path, 0, "it does not begin as a keyed store");
  if (bytes.readUInt32LE(end - 4) !== crc32c(bytes.subarray(0, end - 4)))
    throw new KeyedStoreDamage(identity.path, 0, "its header's checksum is wrong");
  if (bytes.readUInt16LE(4) > containerVersion) throw tooNew(identity, bytes.readUInt16LE(4), containerVersion);
  const name = bytes.toString("utf8", 9, end - 4);
  if (name !== identity.name) throw new KeyedStoreDamage(identity.path, 0, `it is a store of "${name}", not of "${identity.name}"`);
  if (bytes.readUInt16LE(6) > identity.formatVersion) throw tooNew(identity, bytes.readUInt16LE(6), identity.formatVersion);
  return end;
}

/** A KeyedChange as it lies in an entry. */
export function encodeChange(key: string, value: Json | null): string {
  return JSON.stringify(value === null ? [key] : [key, value]);
}

/** @param encodedChanges see encodeChange */
export function encodeEntry(encodedChanges: readonly string[]): Buffer {
  const payload = Buffer.from(`[${encodedChanges.join(",")}]`);
  const head = Buffer.alloc(entryHeadBytes);
  marker.copy(head, 0);
  head.writeUInt32LE(payload.length, 4);
  head.writeUInt32LE(crc32c(payload), 8);
  return Buffer.concat([head, payload]);
}

/**
 * Calls `apply` for each change in order, with what it weighs: its part of the entry, taking all of an entry for equally large. To encode each
 * again took a third of the time that reading 10,000 takes.
 * @returns where the valid entries end; what is behind it is a torn write
 */
export function replayEntries(bytes: Buffer, start: number, path: string, apply: (change: KeyedChange, weight: number) => void): number {
  let at = start;
  for (let end = entryEnd(bytes, at); end !== undefined; end = entryEnd(bytes, at)) {
    const changes = JSON.parse(bytes.toString("utf8", at + entryHeadBytes, end)) as KeyedChange[];
    for (const change of changes) apply(change, (end - at - entryHeadBytes) / changes.length);
    at = end;
  }
  for (let found = bytes.indexOf(marker, at); found !== -1; found = bytes.indexOf(marker, found + 1)) {
    if (entryEnd(bytes, found) !== undefined)
      throw new KeyedStoreDamage(path, at, `bytes ${at} to ${found} are damaged, valid entries follow them`);
  }
  return at;
}

function entryEnd(bytes: Buffer, at: number): number | undefined {
  if (at + entryHeadBytes > bytes.length || bytes.compare(marker, 0, 4, at, at + 4) !== 0) return undefined;
  const payloadBytes = bytes.readUInt32LE(at + 4);
  const end = at + entryHeadBytes + payloadBytes;
  if (
    payloadBytes < payloadBytesMin ||
    end > bytes.length ||
    crc32c(bytes.subarray(at + entryHeadBytes, end)) !== bytes.readUInt32LE(at + 8)
  )
    return undefined;
  return end;
}

export class KeyedStoreDamage extends MillraceError {
  constructor(
    path: string,
    readonly position: number,
    why: string,
  ) {
    super("KEYED_STORE_CORRUPT", `The keyed store can't be read: ${why}.`, {
      domain: "external",
      where: `${path} at byte ${position}`,
      hint: "Bring the whole data directory back from one backup; docs/durability.md says what can be done without one.",
    });
  }
}

function tooNew(identity: StoreIdentity, found: number, known: number): MillraceError {
  return new MillraceError("KEYED_STORE_TOO_NEW", `The file has format version ${found}; this version of millrace reads up to ${known}.`, {
    domain: "user",
    where: identity.path,
    hint: "Start the newer version of millrace that wrote it.",
  });
}
