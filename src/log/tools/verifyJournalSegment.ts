import { crc32cRange } from "../../base/crc32c.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import { EntryKind, isDamage, isEntry } from "../journal/files/format.ts";
import {
  areBlocksWhole,
  blockItems,
  decodeDead,
  decodeSegmentHeader,
  indexBytes,
  type SegmentHeader,
  segmentHeaderBytes,
} from "../journal/segments/segmentFormat.ts";
import { readWhole, walk } from "../journal/segments/segmentRepair.ts";
import type { LogProblem } from "./logProblem.ts";

interface VerifiedSegment {
  readonly entries: number;
  readonly bytes: number;
  readonly problems: readonly LogProblem[];
}

type Tell = (kind: LogProblem["kind"], position: number, what: string) => void;

/** What says what the entries are can be made anew from them, so it is compared with that to the byte. */
export async function verifyJournalSegment(fileSystem: FileSystem, file: string, hasDead: boolean): Promise<VerifiedSegment> {
  const problems: LogProblem[] = [];
  const tell: Tell = (kind, position, what) => void problems.push({ kind, file, position, what });
  const bytes = await readWhole(fileSystem, file);
  const header = unlessDamaged(() => decodeSegmentHeader(bytes.subarray(0, segmentHeaderBytes), file));
  if (header === undefined) tell("index", 0, "the segment's header is damaged; a start makes it anew from the entries");
  const entries = header?.version === 1 ? verifyVersion1(bytes, header, tell) : await verifyEntries(bytes, header, tell);
  if (hasDead && header !== undefined) {
    const dead = await fileSystem.readFile(`${file}.dead`);
    if (unlessDamaged(() => decodeDead(dead, header.items, file)) === undefined) {
      const what = "the list of what is gone from the segment is damaged: some of what was acknowledged comes again";
      problems.push({ kind: "file", file: `${file}.dead`, position: 0, what });
    }
  }
  return { entries, bytes: bytes.length, problems };
}

async function verifyEntries(bytes: Buffer, header: SegmentHeader | undefined, tell: Tell): Promise<number> {
  const walked = await walk(bytes);
  if (walked === undefined) {
    tell("entry", firstBroken(bytes), "the entries behind this one can't be walked to their end");
    return 0;
  }
  const { damagedAt, end, index } = walked;
  for (const at of damagedAt) tell("entry", at, "an entry is damaged: the message or the remembered message-id in it is lost");
  if (header === undefined) return index.items;
  const anew = Buffer.concat([...index.encoded()]);
  const isSame = end === header.indexAt && bytes.subarray(end, end + anew.length).equals(anew);
  if (isSame) return index.items;
  // with damaged entries it can't be the same, and what is there is right as long as its own checksums say so
  const position = damagedIndexAt(bytes, header) ?? (damagedAt.length > 0 ? undefined : header.indexAt);
  if (position !== undefined) tell("index", position, "the segment's index or directory is damaged; it is made anew from the entries");
  return index.items;
}

/** Of version 2. */
function damagedIndexAt(bytes: Buffer, { items, indexAt, version }: SegmentHeader): number | undefined {
  const directoryAt = indexAt + indexBytes(items, version);
  const blockBytes = indexBytes(blockItems, version);
  for (let at = indexAt; at < directoryAt; at += blockBytes) {
    if (!areBlocksWhole(bytes.subarray(at, Math.min(at + blockBytes, directoryAt)))) return at;
  }
  const end = bytes.length - 4;
  const isWhole = end > directoryAt && crc32cRange(bytes, directoryAt, end) === bytes.readUInt32LE(end);
  return isWhole ? undefined : directoryAt;
}

function verifyVersion1(bytes: Buffer, { items, indexAt, version, queuesOrCrc }: SegmentHeader, tell: Tell): number {
  const end = indexAt + indexBytes(items, version);
  if (end > bytes.length || crc32cRange(bytes, indexAt, end) !== queuesOrCrc) tell("file", indexAt, "the segment's index is damaged");
  const broken = firstBroken(bytes.subarray(0, indexAt));
  if (broken < indexAt) tell("entry", broken, "an entry is damaged; those behind it are not looked at");
  return items;
}

/** Or where the entries end. */
function firstBroken(bytes: Buffer): number {
  let at = segmentHeaderBytes;
  while (isEntry(bytes, at, bytes.length)) {
    const isEnd = bytes[at + 12] === EntryKind.end;
    at += bytes.readUInt32LE(at);
    if (isEnd) break;
  }
  return at;
}

function unlessDamaged<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isDamage(error)) return undefined;
    throw error;
  }
}
