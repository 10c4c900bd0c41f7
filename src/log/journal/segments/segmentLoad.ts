import { crc32cRange } from "../../../base/crc32c.ts";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import type { Logger } from "../../../base/logger.ts";
import { nextTurn } from "../../../base/nextTurn.ts";
import { corrupt, isDamage } from "../files/format.ts";
import { countBits, hasBit } from "./bits.ts";
import { type DirectoryEntry, directoryBytesMax, SegmentDirectory } from "./segmentDirectory.ts";
import {
  decodeDead,
  decodeItem,
  decodeSegmentHeader,
  indexBytes,
  itemBytes,
  type SegmentHeader,
  segmentHeaderBytes,
} from "./segmentFormat.ts";
import { repairSegment } from "./segmentRepair.ts";
import { Slice } from "./slice.ts";

const trustedBytesMax = 1024 * 1024;
export const repairSuffix = ".repair-making";

/** What a start has to know of a segment. */
export interface LoadedSegment {
  readonly header: SegmentHeader;
  readonly directory: SegmentDirectory;
  readonly fileBytes: number;
  /** What is gone according to its `dead` file: a bit an item. */
  readonly dead: Uint8Array | undefined;
  readonly deadCount: number;
  /** Of version 1, where ids lie between the copies: a bit an item. */
  readonly ids: Uint8Array | undefined;
}

/** Of the file only header and directory are read, of version 1 the index. What of those is damaged is made anew from the entries. */
export async function loadSegment(fileSystem: FileSystem, path: string, hasDead: boolean, logger: Logger): Promise<LoadedSegment> {
  try {
    return await load(fileSystem, path, hasDead, logger);
  } catch (error) {
    if (!isDamage(error)) throw error;
    const repaired = await repairSegment(fileSystem, path, path + repairSuffix, undefined);
    if (repaired === undefined) throw error;
    logger.error("what a segment says of its entries was damaged, and was made anew from those", {
      file: path,
      position: 0,
      error,
      damagedEntriesAt: repaired.damagedAt,
    });
    return load(fileSystem, path, hasDead, logger);
  }
}

async function load(fileSystem: FileSystem, path: string, hasDead: boolean, logger: Logger): Promise<LoadedSegment> {
  const handle = await fileSystem.open(path, "read");
  try {
    const header = decodeSegmentHeader(await read(handle, 0, segmentHeaderBytes), path);
    const { items, version, indexAt, queuesOrCrc } = header;
    const directoryAt = indexAt + indexBytes(items, version);
    const dead = hasDead ? await readDead(fileSystem, `${path}.dead`, items, logger) : undefined;
    const gone = { dead, deadCount: dead === undefined ? 0 : countBits(dead, 0, items) };
    if (version === 1) return { header, fileBytes: directoryAt, ...gone, ...(await directoryOfVersion1(handle, header, dead, path)) };
    if (queuesOrCrc > items) throw corrupt(`${path} at byte 24`, "the header says that there are more queues than items");
    const most = directoryBytesMax(items, queuesOrCrc);
    // a look at the file's size only where it is worth it: a start opens hundreds of them
    const length = most < trustedBytesMax ? most : Math.min(most, Math.max(0, (await handle.bytes()) - directoryAt));
    const bytes = await read(handle, directoryAt, length);
    const directory = SegmentDirectory.decode(bytes, items, queuesOrCrc, `${path} at byte ${directoryAt}`);
    return { header, fileBytes: directoryAt + bytes.length, ...gone, directory, ids: undefined };
  } finally {
    await handle.close();
  }
}

async function read(handle: File, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  return bytes.subarray(0, await handle.read(bytes, 0, length, at));
}

async function readDead(fileSystem: FileSystem, path: string, items: number, logger: Logger): Promise<Buffer | undefined> {
  const bytes = await fileSystem.readFile(path);
  try {
    return decodeDead(bytes, items, path);
  } catch (error) {
    if (!isDamage(error)) throw error;
    const where = { file: path, position: 0, error };
    logger.error("the list of what is gone from a segment is damaged: some of what was acknowledged comes again", where);
    return undefined;
  }
}

/** Its offsets are those of what lives. */
async function directoryOfVersion1(
  handle: File,
  { items, indexAt, queuesOrCrc }: SegmentHeader,
  dead: Uint8Array | undefined,
  path: string,
): Promise<{ readonly directory: SegmentDirectory; readonly ids: Uint8Array }> {
  const index = await read(handle, indexAt, items * itemBytes);
  if (crc32cRange(index, 0, index.length) !== queuesOrCrc) throw corrupt(`${path} at byte ${indexAt}`, "the index has a wrong checksum");
  const entries: { -readonly [K in keyof DirectoryEntry]: DirectoryEntry[K] }[] = [];
  const bits = { ids: new Uint8Array(Math.ceil(items / 8)), transient: new Uint8Array(Math.ceil(items / 8)) };
  const slice = new Slice();
  for (let ordinal = 0; ordinal < items; ordinal++) {
    const { queue, offset, bytes, isId, transient } = decodeItem(index, ordinal * itemBytes);
    let entry = entries.at(-1);
    if (entry?.queue !== queue) {
      entry = { queue, firstItem: ordinal, copies: 0, ids: 0, firstOffset: Number.POSITIVE_INFINITY, lastOffset: -1, bytes: 0 };
      entries.push(entry);
    }
    entry[isId ? "ids" : "copies"]++;
    entry.bytes += bytes;
    if (isId || transient) (bits[isId ? "ids" : "transient"][ordinal >>> 3] as number) |= 1 << (ordinal & 7);
    else if (dead === undefined || !hasBit(dead, ordinal)) {
      entry.firstOffset = Math.min(entry.firstOffset, offset);
      entry.lastOffset = offset;
    }
    if (slice.isOver(1 / 4)) await nextTurn();
  }
  return { directory: SegmentDirectory.of(entries, bits.transient), ids: bits.ids };
}
