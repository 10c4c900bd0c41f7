import { crc32cRange } from "../../src/base/crc32c.ts";
import { entryHeadBytes } from "../../src/log/journal/files/format.ts";
import {
  decodeId,
  decodeItem,
  decodeSegmentHeader,
  encodeDead,
  encodeItem,
  encodeSegmentHeader,
  itemAt,
  itemBytes,
  SegmentEntryKind,
  segmentHeaderBytes,
} from "../../src/log/journal/segments/segmentFormat.ts";

/** A segment of version 2 as version 1 would have written it, and its list of what is gone: a bit an item. */
export function asVersion1(file: Buffer, dead: Uint8Array | undefined): { readonly segment: Buffer; readonly dead: Buffer | undefined } {
  const { items, indexAt } = decodeSegmentHeader(file, "version 2");
  const all = Array.from({ length: items }, (_, ordinal) => ({ ordinal, ...decodeItem(file, indexAt + itemAt(ordinal, 2)) }));
  all.sort((a, b) => a.queue - b.queue || a.offset - b.offset || Number(a.isId) - Number(b.isId));
  const parts: Buffer[] = [Buffer.alloc(segmentHeaderBytes)];
  const places = new Map<number, number>();
  let end = segmentHeaderBytes;
  const index = Buffer.alloc(items * itemBytes);
  const alive = new Uint8Array(Math.ceil(items / 8));
  for (const [ordinal, item] of all.entries()) {
    let at = places.get(item.at);
    if (at === undefined) {
      const entry = item.isId ? idEntry(file, item.at) : file.subarray(item.at, item.at + file.readUInt32LE(item.at));
      places.set(item.at, (at = end));
      parts.push(entry);
      end += entry.length;
    }
    encodeItem(index, ordinal * itemBytes, { ...item, at });
    const isDead = ((dead?.[item.ordinal >>> 3] ?? 0) & (1 << (item.ordinal & 7))) !== 0;
    if (!isDead) (alive[ordinal >>> 3] as number) |= 1 << (ordinal & 7);
  }
  const header = encodeSegmentHeader({ version: 1, items, indexAt: end, queuesOrCrc: crc32cRange(index, 0, index.length) });
  header.writeUInt32LE(1, 8);
  header.writeUInt32LE(crc32cRange(header, 0, 28), 28);
  header.copy(parts[0] as Buffer);
  return { segment: Buffer.concat([...parts, index]), dead: dead === undefined ? undefined : encodeDead(items, alive) };
}

function idEntry(file: Buffer, at: number): Buffer {
  const { timestamp, dedupeId } = decodeId(file, at);
  const length = entryHeadBytes + 8 + Buffer.byteLength(dedupeId);
  const entry = Buffer.alloc(length);
  entry.writeUInt32LE(length, 0);
  entry.writeUInt8(SegmentEntryKind.dedupeId, 12);
  entry.writeDoubleLE(timestamp, entryHeadBytes);
  entry.write(dedupeId, entryHeadBytes + 8, "utf8");
  entry.writeUInt32LE(crc32cRange(entry, 8, length), 4);
  return entry;
}
