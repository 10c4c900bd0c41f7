import type { File, FileSystem } from "../../../base/fileSystem.ts";
import { nextTurn } from "../../../base/nextTurn.ts";
import { removeIfThere } from "../../../base/wholeFile.ts";
import { EntryKind, entryHeadBytes, isEntry, messageHeadBytes } from "../files/format.ts";
import { destinationOf, messageAt } from "../files/journalMessages.ts";
import { IndexBuilder } from "./indexBuilder.ts";
import { decodeItem, itemBytes, SegmentEntryKind, type SegmentItem, segmentHeaderBytes } from "./segmentFormat.ts";
import { ChunkedWriter, finishSegment } from "./segmentWriter.ts";
import { checkedBytesPerItem, Slice } from "./slice.ts";

const kinds = new Set<number>([EntryKind.message, EntryKind.end, SegmentEntryKind.copies, SegmentEntryKind.rememberedId]);

/** What the entries say. */
interface Walked {
  /** Of the entries, `end` included. */
  readonly end: number;
  readonly index: IndexBuilder;
  /** Damaged entries: what they were of is not in the index. */
  readonly damagedAt: readonly number[];
}

/**
 * Makes header, index and directory of a segment anew from its entries, item by item the same: so its `dead` file still fits.
 * @param making where it is written before it takes the segment's place
 * @param items so many it must have; undefined: nobody relies on their numbers yet
 * @returns undefined: the entries don't come to an end, so it is none of this format; or they are others
 */
export async function repairSegment(
  fileSystem: FileSystem,
  path: string,
  making: string,
  items: number | undefined,
): Promise<Walked | undefined> {
  const file = await readWhole(fileSystem, path);
  const walked = await walk(file);
  if (walked === undefined || (items !== undefined && walked.index.items !== items)) return undefined;
  await removeIfThere(fileSystem, making);
  const handle = await fileSystem.open(making, "create");
  try {
    await writeAnew(handle, file, walked);
  } finally {
    await handle.close();
  }
  await fileSystem.rename(making, path);
  return walked;
}

export async function readWhole(fileSystem: FileSystem, path: string): Promise<Buffer> {
  const handle = await fileSystem.open(path, "read");
  try {
    const file = Buffer.allocUnsafeSlow(await handle.bytes());
    return file.subarray(0, await handle.read(file, 0, file.length, 0));
  } finally {
    await handle.close();
  }
}

async function writeAnew(handle: File, file: Buffer, { end, index }: Walked): Promise<void> {
  const out = new ChunkedWriter(handle, segmentHeaderBytes);
  const step = 256 * 1024;
  for (let at = segmentHeaderBytes; at < end; at += step) await out.add(file, at, Math.min(step, end - at));
  await finishSegment(handle, out, index);
}

/** Over damaged entries. @returns undefined: they don't come to an end */
export async function walk(file: Buffer): Promise<Walked | undefined> {
  const alone: SegmentItem[] = [];
  const shared: SegmentItem[] = [];
  const damagedAt: number[] = [];
  const slice = new Slice();
  for (let here = segmentHeaderBytes; ; ) {
    if (!isOneOfOurs(file, here)) {
      damagedAt.push(here);
      const next = await nextWhole(file, here);
      if (next === undefined) return undefined;
      here = next;
    }
    const length = file.readUInt32LE(here);
    const kind = file[here + 12];
    if (kind === EntryKind.end) return { end: here + length, index: await indexOf(alone, shared), damagedAt };
    if (kind === SegmentEntryKind.copies) {
      for (let at = here + entryHeadBytes; at + itemBytes <= here + length; at += itemBytes) shared.push(decodeItem(file, at));
    } else {
      const item = kind === EntryKind.message ? onlyCopyOf(file, here, length) : idOf(file, here);
      if (item !== undefined) alone.push(item);
    }
    here += length;
    if (slice.isOver(1 + length / checkedBytesPerItem)) await nextTurn();
  }
}

function isOneOfOurs(file: Buffer, at: number): boolean {
  if (at + entryHeadBytes > file.length || !kinds.has(file[at + 12] as number)) return false;
  return (file[at + 12] !== EntryKind.message || file.readUInt32LE(at) >= messageHeadBytes) && isEntry(file, at, file.length);
}

/** Where the entry behind a damaged one begins. */
async function nextWhole(file: Buffer, damaged: number): Promise<number | undefined> {
  if (damaged + entryHeadBytes <= file.length) {
    const behind = damaged + file.readUInt32LE(damaged);
    if (behind >= damaged + entryHeadBytes && isOneOfOurs(file, behind)) return behind;
  }
  for (let at = damaged + 1; at + entryHeadBytes <= file.length; at++) {
    if (isOneOfOurs(file, at)) return at;
    if (at % 65_536 === 0) await nextTurn();
  }
  return undefined;
}

/** Undefined: which of its copies it is there for is in the list of copies. */
function onlyCopyOf(file: Buffer, at: number, length: number): SegmentItem | undefined {
  const message = messageAt(file, at, length);
  if (message.destinations !== 1) return undefined;
  const { transient, contentBytes: bytes } = message;
  return { ...destinationOf(file, message, 0), at, bytes, transient, isId: false };
}

function idOf(file: Buffer, at: number): SegmentItem {
  const queue = file.readUInt32LE(at + entryHeadBytes);
  return { queue, offset: file.readDoubleLE(at + entryHeadBytes + 4), at, bytes: 0, isId: true, transient: false };
}

/** Both are in the order of the index. */
async function indexOf(alone: readonly SegmentItem[], shared: readonly SegmentItem[]): Promise<IndexBuilder> {
  const index = new IndexBuilder();
  const slice = new Slice();
  let n = 0;
  for (const item of alone) {
    for (; n < shared.length && isBefore(shared[n] as SegmentItem, item); n++) index.add(shared[n] as SegmentItem);
    index.add(item);
    if (slice.isOver(1)) await nextTurn();
  }
  for (; n < shared.length; n++) index.add(shared[n] as SegmentItem);
  return index;
}

function isBefore(one: SegmentItem, other: SegmentItem): boolean {
  if (one.queue !== other.queue) return one.queue < other.queue;
  if (one.isId !== other.isId) return other.isId;
  return one.offset < other.offset;
}
