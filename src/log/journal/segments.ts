import path from "node:path";
import { crc32cRange } from "../../base/crc32c.ts";
import { MillraceError } from "../../base/errors.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { Logger } from "../../base/logger.ts";
import type { JournalVisitor } from "../contract/queueJournal.ts";
import { corrupt, EntryKind, entryHeadBytes, isEntry } from "./format.ts";
import { HandleCache } from "./handleCache.ts";
import type { JournalReader, ReadSource } from "./journalReader.ts";
import { ordinalOf, Segment, serialOf } from "./segment.ts";
import {
  decodeDead,
  decodeItem,
  decodeSegmentHeader,
  encodeDead,
  itemBytes,
  parseSegmentFileName,
  type SegmentItem,
  type SegmentName,
  segmentFileName,
  segmentHeaderBytes,
} from "./segmentFormat.ts";
import { type LivingItems, writeSegment } from "./segmentWriter.ts";

const handlesMax = 64;
const makingName = "next.segment-making";
const deadMakingName = "next.dead-making";

/** What lives longer than the journal's files, in segments, oldest first. */
export class Segments {
  private list: Segment[] = [];
  private readonly bySerial = new Map<number, { readonly segment: Segment; readonly source: ReadSource }>();
  private nextSerial = 1;
  /** Named, but not surely: nobody knows them, and at a start they would bring back what is gone by then. */
  private readonly strays = new Set<string>();
  private readonly handles: HandleCache;

  private constructor(
    private readonly fileSystem: FileSystem,
    private readonly directory: string,
    private readonly reader: JournalReader,
    private readonly logger: Logger,
  ) {
    this.handles = new HandleCache(fileSystem, handlesMax);
  }

  /** Opens what counts and removes what does not. @param journalBegin the sequence of the oldest file of the journal */
  static async open(
    fileSystem: FileSystem,
    directory: string,
    journalBegin: number,
    reader: JournalReader,
    logger: Logger,
  ): Promise<Segments> {
    const segments = new Segments(fileSystem, directory, reader, logger);
    const names = await fileSystem.list(directory);
    const found = names.flatMap((name) => parseSegmentFileName(name) ?? []);
    found.sort((a, b) => a.first - b.first || a.generation - b.generation);
    const counting = found.filter(
      (one) => one.last < journalBegin && !found.some((other) => other.last < journalBegin && replaces(other, one)),
    );
    const wanted = new Set(counting.map(segmentFileName));
    const superfluous = names.filter(
      (name) => name === makingName || name === deadMakingName || (name.endsWith(".segment") && !wanted.has(name)),
    );
    for (const name of superfluous) await fileSystem.removeFile(path.join(directory, name));
    if (superfluous.length > 0) await fileSystem.syncDirectory(directory);
    for (const name of names) {
      if (name.endsWith(".dead") && !wanted.has(name.slice(0, -".dead".length))) await fileSystem.removeFile(path.join(directory, name));
    }
    for (const name of counting) {
      const file = path.join(directory, segmentFileName(name));
      const head = Buffer.alloc(segmentHeaderBytes);
      const read = await segments.handles.use(file, (handle) => handle.read(head, 0, head.length, 0));
      segments.add(new Segment(segments.nextSerial++, name, file, decodeSegmentHeader(head.subarray(0, read), file)));
    }
    return segments;
  }

  get all(): readonly Segment[] {
    return this.list;
  }

  get bytes(): number {
    return this.list.reduce((sum, { header }) => sum + header.indexAt + header.items * itemBytes, 0);
  }

  /** Tells the visitor what lives. What it pins afterwards is what lives on. */
  async replay(visitor: JournalVisitor): Promise<void> {
    for (const segment of this.list) {
      const dead = await this.readDead(segment);
      const items = await this.readItems(segment);
      let ids: Buffer | undefined;
      for (const [ordinal, item] of items.entries()) {
        if (((dead?.[ordinal >>> 3] ?? 0) & (1 << (ordinal & 7))) !== 0) {
          segment.savedDeadCount++;
          continue;
        }
        if (item.transient) continue;
        const { queue, offset, bytes } = item;
        const position = segment.positionOf(ordinal);
        if (!item.isId) visitor.kept({ queue, offset, position, contentBytes: bytes });
        else {
          ids ??= await this.readEntries(segment);
          if (!isEntry(ids, item.at, ids.length) || ids[item.at + 12] !== EntryKind.dedupeId) {
            this.logger.error("a remembered message-id is damaged and forgotten", { file: segment.path, position: item.at });
            continue;
          }
          const timestamp = ids.readDoubleLE(item.at + entryHeadBytes);
          const dedupeId = ids.toString("utf8", item.at + entryHeadBytes + 8, item.at + ids.readUInt32LE(item.at));
          visitor.remembered({ queue, offset, position, dedupeId, timestamp });
        }
      }
    }
  }

  pin(position: number): void {
    this.bySerial.get(serialOf(position))?.segment.revive(ordinalOf(position));
  }

  /** Of a segment that was replaced meanwhile there is nothing to release any more. */
  release(position: number): Segment | undefined {
    const segment = this.bySerial.get(serialOf(position))?.segment;
    segment?.end(ordinalOf(position));
    return segment;
  }

  async read(position: number): ReturnType<JournalReader["message"]> {
    const found = this.bySerial.get(serialOf(position));
    if (found === undefined) throw corrupt(this.directory, "a message is looked for in a segment that is not there any more");
    const { segment, source } = found;
    const { indexAt, items } = segment.header;
    const at = indexAt + ordinalOf(position) * itemBytes;
    const item = decodeItem(await this.reader.raw(source, at, itemBytes, indexAt + items * itemBytes), 0);
    return this.reader.message(source, item.at, indexAt);
  }

  /** The whole index, checked. */
  async readItems(segment: Segment): Promise<SegmentItem[]> {
    const { indexAt, items, indexCrc } = segment.header;
    const bytes = await this.readRange(segment, indexAt, items * itemBytes);
    if (crc32cRange(bytes, 0, bytes.length) !== indexCrc)
      throw corrupt(`${segment.path} at byte ${indexAt}`, "the index has a wrong checksum");
    return Array.from({ length: items }, (_, n) => decodeItem(bytes, n * itemBytes));
  }

  /** All before the index, so that entries are at their own positions. */
  readEntries(segment: Segment): Promise<Buffer> {
    return this.readRange(segment, 0, segment.header.indexAt);
  }

  /** A segment with these items, whole and durable under its name; none of them alive yet. */
  async create(name: SegmentName, items: LivingItems): Promise<Segment> {
    const making = path.join(this.directory, makingName);
    if ((await this.fileSystem.stat(making)) !== undefined) await this.fileSystem.removeFile(making);
    const handle = await this.fileSystem.open(making, "create");
    const file = path.join(this.directory, segmentFileName(name));
    try {
      const header = await writeSegment(handle, items).finally(() => handle.close());
      this.strays.add(file);
      await this.fileSystem.rename(making, file);
      await this.fileSystem.syncDirectory(this.directory);
      this.strays.delete(file);
      const segment = new Segment(this.nextSerial++, name, file, header);
      this.add(segment);
      return segment;
    } catch (error) {
      await this.fileSystem.removeFile(making).catch(() => undefined);
      throw error;
    }
  }

  /** Durable from then on: which items are gone. */
  async saveDead(): Promise<void> {
    await this.removeStrays();
    const changed = this.list.filter((segment) => segment.deadCount > segment.savedDeadCount);
    if (changed.length === 0) return;
    const making = path.join(this.directory, deadMakingName);
    for (const segment of changed) {
      const { deadCount } = segment;
      const bytes = encodeDead(segment.items, segment.alive);
      if ((await this.fileSystem.stat(making)) !== undefined) await this.fileSystem.removeFile(making);
      const handle = await this.fileSystem.open(making, "create");
      try {
        await handle.write(bytes, 0, bytes.length, 0);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await this.fileSystem.rename(making, segment.deadPath);
      segment.savedDeadCount = deadCount;
    }
    await this.fileSystem.syncDirectory(this.directory);
  }

  private async removeStrays(): Promise<void> {
    if (this.strays.size === 0) return;
    for (const file of this.strays) if ((await this.fileSystem.stat(file)) !== undefined) await this.fileSystem.removeFile(file);
    await this.fileSystem.syncDirectory(this.directory);
    this.strays.clear();
  }

  /** Its items are all gone, or in a newer segment that is durable: nobody looks into it any more. */
  retire(segment: Segment): void {
    this.list = this.list.filter((other) => other !== segment);
    this.bySerial.delete(segment.serial);
  }

  /** After `retire`; again if it fails. */
  async remove(segment: Segment): Promise<void> {
    await this.handles.forget(segment.path);
    if ((await this.fileSystem.stat(segment.path)) !== undefined) await this.fileSystem.removeFile(segment.path);
    await this.fileSystem.syncDirectory(this.directory);
    if ((await this.fileSystem.stat(segment.deadPath)) !== undefined) await this.fileSystem.removeFile(segment.deadPath);
  }

  async close(): Promise<void> {
    await this.handles.close();
  }

  private add(segment: Segment): void {
    const source = {
      path: segment.path,
      use: <T>(task: Parameters<ReadSource["use"]>[0]) => this.handles.use(segment.path, task) as Promise<T>,
    };
    this.bySerial.set(segment.serial, { segment, source });
    this.list.push(segment);
    this.list.sort((a, b) => a.name.first - b.name.first);
  }

  private async readDead(segment: Segment): Promise<Buffer | undefined> {
    if ((await this.fileSystem.stat(segment.deadPath)) === undefined) return undefined;
    const bytes = await this.fileSystem.readFile(segment.deadPath);
    try {
      return decodeDead(bytes, segment.items, segment.deadPath);
    } catch (error) {
      if (!(error instanceof MillraceError && error.code === "JOURNAL_CORRUPT")) throw error;
      const where = { file: segment.deadPath, position: 0, error };
      this.logger.error("the list of what is gone from a segment is damaged: some of what was acknowledged comes again", where);
      return undefined;
    }
  }

  private readRange(segment: Segment, from: number, length: number): Promise<Buffer> {
    return this.handles.use(segment.path, async (handle) => {
      const bytes = Buffer.allocUnsafe(length);
      const read = await handle.read(bytes, 0, length, from);
      if (read < length) throw corrupt(`${segment.path} at byte ${from + read}`, "the file was cut short");
      return bytes;
    });
  }
}

const replaces = (one: SegmentName, other: SegmentName): boolean =>
  one.first <= other.first && one.last >= other.last && one.generation > other.generation;
