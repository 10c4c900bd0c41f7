import path from "node:path";
import { allOver } from "../../../base/allOver.ts";
import { closedIfFails } from "../../../base/closing.ts";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import type { Logger } from "../../../base/logger.ts";
import { nextTurn } from "../../../base/nextTurn.ts";
import { removeIfThere, writeNewFile } from "../../../base/wholeFile.ts";
import type { JournalVisitor, OffsetRange } from "../../contract/queueJournal.ts";
import { corrupt, isEntry } from "../files/format.ts";
import type { JournalReader, ReadSource } from "../files/journalReader.ts";
import { SegmentReplay } from "../start/segmentReplay.ts";
import { hasBit } from "./bits.ts";
import { EntryWindow } from "./entryWindow.ts";
import { HandleCache } from "./handleCache.ts";
import { ordinalOf, Segment, serialOf } from "./segment.ts";
import { decodeId, encodeDead, parseSegmentFileName, SegmentEntryKind, type SegmentName, segmentFileName } from "./segmentFormat.ts";
import { itemsOf, pageItemsDefault, SegmentIndexes } from "./segmentIndexes.ts";
import { type LoadedSegment, loadSegment, repairSuffix } from "./segmentLoad.ts";
import { repairSegment } from "./segmentRepair.ts";
import { type RunHost, SegmentRun } from "./segmentRun.ts";
import { SegmentWriter } from "./segmentWriter.ts";
import { Slice } from "./slice.ts";

const handlesMax = 64;
/** Segments that a start opens at the same time; below the size of libuv's pool. */
const loadsInFlightMax = 8;
const makingName = "next.segment-making";
const deadMakingName = "next.dead-making";

interface Opened {
  readonly segment: Segment;
  readonly source: ReadSource;
  /** By queue. */
  readonly runs: readonly SegmentRun[];
}

/** A segment that was just made, and what was written into it. */
export interface Created {
  readonly segment: Segment;
  readonly runs: readonly SegmentRun[];
  readonly writer: SegmentWriter;
}

/** What lives longer than the journal's files, in segments, oldest first. */
export class Segments implements RunHost {
  private list: Segment[] = [];
  private readonly bySerial = new Map<number, Opened>();
  private nextSerial = 1;
  /** Named, but not surely: nobody knows them, and at a start they would bring back what is gone by then. */
  private readonly strays = new Set<string>();
  private readonly handles: HandleCache;
  readonly indexes: SegmentIndexes;
  private saving: Promise<void> = Promise.resolve();
  private repairing: Promise<void> = Promise.resolve();
  /** Until the replay: what was gone at the start. */
  private readonly deadAtStart = new Map<Segment, Uint8Array>();
  /** What runs need of write-behind. */
  hooks: Pick<RunHost, "released" | "releaseDurably"> = { released: () => undefined, releaseDurably: async () => undefined };

  private constructor(
    private readonly fileSystem: FileSystem,
    private readonly directory: string,
    private readonly reader: JournalReader,
    private readonly logger: Logger,
    indexPageItems: number,
  ) {
    this.handles = new HandleCache(fileSystem, handlesMax);
    this.indexes = new SegmentIndexes(
      indexPageItems,
      (segment, at, length) => this.readRange(segment, at, length),
      (segment) => this.repairIndex(segment),
    );
  }

  /** Opens what counts and removes what does not. @param journalBegin the sequence of the oldest file of the journal */
  static async open(
    fileSystem: FileSystem,
    directory: string,
    journalBegin: number,
    reader: JournalReader,
    logger: Logger,
    indexPageItems = pageItemsDefault,
  ): Promise<Segments> {
    const segments = new Segments(fileSystem, directory, reader, logger, indexPageItems);
    const names = await fileSystem.list(directory);
    const counting = countingSegments(names, journalBegin);
    const wanted = new Set(counting.map(segmentFileName));
    const superfluous = names.filter((name) => isMaking(name) || (name.endsWith(".segment") && !wanted.has(name)));
    for (const name of superfluous) await fileSystem.removeFile(path.join(directory, name));
    if (superfluous.length > 0) await fileSystem.syncDirectory(directory);
    for (const name of names) {
      if (name.endsWith(".dead") && !wanted.has(name.slice(0, -".dead".length))) await fileSystem.removeFile(path.join(directory, name));
    }
    await closedIfFails(segments, () => segments.load(counting, new Set(names)));
    return segments;
  }

  get all(): readonly Segment[] {
    return this.list;
  }

  get bytes(): number {
    return this.list.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
  }

  runsOf(segment: Segment): readonly SegmentRun[] {
    return (this.bySerial.get(segment.serial) as Opened).runs;
  }

  /**
   * Tells the visitor what lives: of copies only the runs that they are in. @returns who has to hear instead of the visitor what the
   * journal's files say
   */
  async replay(visitor: JournalVisitor): Promise<SegmentReplay> {
    const replay = new SegmentReplay(visitor);
    const slice = new Slice();
    for (const segment of this.list) {
      const entries = new EntryWindow(segment, (of, at, length) => this.readRange(of, at, length));
      for (const run of this.runsOf(segment)) {
        const taken = visitor.kept(run);
        if (!taken) segment.endCopies(run.begin, run.end);
        else if (run.live > 0) replay.add(run);
        if (run.hasIds) await this.replayIds(run, entries, visitor);
        if (slice.isOver(1 + run.live / 1000)) await nextTurn();
      }
    }
    this.deadAtStart.clear();
    return replay;
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

  released(segment: Segment): void {
    this.hooks.released(segment);
  }

  releaseDurably(run: SegmentRun, range: OffsetRange): Promise<void> {
    return this.hooks.releaseDurably(run, range);
  }

  lost(segment: Segment, from: number, to: number, error: unknown): void {
    segment.endCopies(from, to);
    segment.damaged = true;
    this.logger.error("a part of a segment's index is damaged and can't be made anew; its messages are lost", {
      file: segment.path,
      error,
    });
  }

  async read(position: number): ReturnType<JournalReader["message"]> {
    const found = this.bySerial.get(serialOf(position));
    if (found === undefined) throw corrupt(this.directory, "a message is looked for in a segment that is not there any more");
    const { segment, source } = found;
    const ordinal = ordinalOf(position);
    const { at } = itemsOf(await this.indexes.page(segment, ordinal), ordinal);
    return this.reader.message(source, at, segment.header.indexAt);
  }

  /** What is there of it, if less. */
  readRange(segment: Segment, from: number, length: number): Promise<Buffer> {
    return this.handles.use(segment.path, async (handle) => {
      const bytes = Buffer.allocUnsafe(length);
      return bytes.subarray(0, await handle.read(bytes, 0, length, from));
    });
  }

  /**
   * A segment with what `write` gives the writer, whole and durable under its name; nothing in it alive yet.
   * @returns undefined: there is nothing to be written, or `write` has given up
   */
  async create(name: SegmentName, write: (writer: SegmentWriter) => Promise<boolean>): Promise<Created | undefined> {
    await this.oneByOne(() => this.removeStrays()); // one of them may have this name
    const making = path.join(this.directory, makingName);
    await removeIfThere(this.fileSystem, making);
    const handle = await this.fileSystem.open(making, "create");
    const file = path.join(this.directory, segmentFileName(name));
    try {
      const made = await this.fill(handle, write).finally(() => handle.close());
      if (made === undefined) {
        await this.fileSystem.removeFile(making);
        return undefined;
      }
      try {
        await this.fileSystem.rename(making, file);
        await this.fileSystem.syncDirectory(this.directory);
      } catch (error) {
        this.strays.add(file);
        throw error;
      }
      const { header, fileBytes, writer } = made;
      const directory = writer.index.directory();
      const { segment, runs } = this.add(name, { header, fileBytes, directory, dead: undefined, deadCount: 0, ids: undefined });
      return { segment, runs, writer };
    } catch (error) {
      await this.fileSystem.removeFile(making).catch(() => undefined);
      throw error;
    }
  }

  /** Durable from then on: which items are gone. One call after the other. */
  saveDead(): Promise<void> {
    return this.oneByOne(async () => {
      await this.removeStrays();
      await this.saveDeadNow();
    });
  }

  /** Its items are all gone, or in a newer segment that is durable: nobody looks into it any more. */
  retire(segment: Segment): void {
    segment.retired = true;
    this.list = this.list.filter((other) => other !== segment);
    this.bySerial.delete(segment.serial);
  }

  /** After `retire`; again if it fails. */
  async remove(segment: Segment): Promise<void> {
    await this.handles.forget(segment.path);
    await removeIfThere(this.fileSystem, segment.path);
    await this.fileSystem.syncDirectory(this.directory);
    await removeIfThere(this.fileSystem, segment.deadPath);
  }

  async close(): Promise<void> {
    await this.saving;
    await this.handles.close();
  }

  // ---- within

  private oneByOne(task: () => Promise<void>): Promise<void> {
    const done = this.saving.then(task);
    this.saving = done.catch(() => undefined);
    return done;
  }

  private async removeStrays(): Promise<void> {
    if (this.strays.size === 0) return;
    for (const file of this.strays) await removeIfThere(this.fileSystem, file);
    await this.fileSystem.syncDirectory(this.directory);
    this.strays.clear();
  }

  private async load(names: readonly SegmentName[], inFolder: ReadonlySet<string>): Promise<void> {
    const loaded = new Map<SegmentName, LoadedSegment>();
    const next = names.values();
    const lane = async (): Promise<void> => {
      for (const name of next) {
        const file = segmentFileName(name);
        const found = await loadSegment(this.fileSystem, path.join(this.directory, file), inFolder.has(`${file}.dead`), this.logger);
        loaded.set(name, found);
      }
    };
    await allOver(Array.from({ length: loadsInFlightMax }, lane));
    const slice = new Slice();
    for (const name of names) {
      const one = loaded.get(name) as LoadedSegment;
      if (slice.isOver(one.header.items / 1000)) await nextTurn();
      const { segment, runs } = this.add(name, one);
      segment.settled = true;
      segment.savedDeadCount = one.deadCount;
      if (one.dead !== undefined) this.deadAtStart.set(segment, one.dead);
      const gone = unionOf(one.dead, one.directory.transient, one.ids);
      for (const run of runs) segment.reviveCopies(run.begin, run.end, gone);
    }
  }

  private add(name: SegmentName, { header, directory, fileBytes, ids }: LoadedSegment): Opened {
    const file = path.join(this.directory, segmentFileName(name));
    const segment = new Segment(this.nextSerial++, name, file, header, directory, fileBytes, ids);
    const runs = Array.from({ length: directory.queues }, (_, n) => new SegmentRun(this, segment, n));
    const source: ReadSource = { path: file, use: (task) => this.handles.use(file, task) };
    const opened = { segment, source, runs };
    this.bySerial.set(segment.serial, opened);
    this.list.push(segment);
    this.list.sort((a, b) => a.name.first - b.name.first);
    return opened;
  }

  private async fill(handle: File, write: (writer: SegmentWriter) => Promise<boolean>) {
    const writer = new SegmentWriter(handle);
    if (!(await write(writer)) || writer.index.items === 0) return undefined;
    return { writer, ...(await writer.finish()) };
  }

  private async replayIds({ segment, idRange, queue }: SegmentRun, entries: EntryWindow, visitor: JournalVisitor): Promise<void> {
    const { begin, end } = idRange;
    const slice = new Slice();
    const dead = this.deadAtStart.get(segment);
    for (let ordinal = begin; ordinal < end; ordinal++) {
      if (slice.isOver(1 / 8)) await nextTurn();
      if (dead !== undefined && hasBit(dead, ordinal)) continue;
      const { offset, at, isId } = itemsOf(await this.indexes.page(segment, ordinal), ordinal);
      if (!isId) continue;
      if (!entries.has(at)) await entries.load(at);
      const { bytes, start } = entries;
      if (!isEntry(bytes, at - start, bytes.length) || !isIdEntry(bytes[at - start + 12])) {
        this.logger.error("a remembered message-id is damaged and forgotten", { file: segment.path, position: at });
        continue;
      }
      visitor.remembered({ queue, offset, position: segment.positionOf(ordinal), ...decodeId(bytes, at - start) });
    }
  }

  private async saveDeadNow(): Promise<void> {
    const changed = this.list.filter(({ settled, deadCount, savedDeadCount }) => settled && deadCount > savedDeadCount);
    if (changed.length === 0) return;
    const making = path.join(this.directory, deadMakingName);
    const saved: [Segment, number][] = [];
    for (const segment of changed) {
      if (segment.retired) continue;
      saved.push([segment, segment.deadCount]);
      const bytes = encodeDead(segment.items, segment.alive);
      await removeIfThere(this.fileSystem, making);
      await writeNewFile(this.fileSystem, making, bytes);
      await this.fileSystem.rename(making, segment.deadPath);
    }
    await this.fileSystem.syncDirectory(this.directory);
    for (const [segment, deadCount] of saved) segment.savedDeadCount = deadCount; // only now: the names are durable
  }

  private repairIndex(segment: Segment): Promise<void> {
    const repaired = this.repairing.then(() => this.repairIndexNow(segment));
    this.repairing = repaired.catch(() => undefined);
    return repaired;
  }

  private async repairIndexNow(segment: Segment): Promise<void> {
    const repaired = await repairSegment(this.fileSystem, segment.path, segment.path + repairSuffix, segment.items);
    if (repaired === undefined) return;
    await this.handles.forget(segment.path);
    this.logger.error("a segment's index was damaged, and was made anew from its entries", {
      file: segment.path,
      position: segment.header.indexAt,
    });
  }
}

/** Those that count, in order; the others have been replaced, or the journal's files say more. */
export function countingSegments(names: readonly string[], journalBegin: number): SegmentName[] {
  const found = names.flatMap((name) => parseSegmentFileName(name) ?? []);
  found.sort((a, b) => a.first - b.first || a.generation - b.generation);
  return found.filter((one) => one.last < journalBegin && !found.some((other) => other.last < journalBegin && replaces(other, one)));
}

const replaces = (one: SegmentName, other: SegmentName): boolean =>
  one.first <= other.first && one.last >= other.last && one.generation > other.generation;

/** Bits that are set in one of them. */
function unionOf(...sets: readonly (Uint8Array | undefined)[]): Uint8Array | undefined {
  const [first, ...others] = sets.filter((set) => set !== undefined);
  if (first === undefined || others.length === 0) return first;
  return first.map((byte, n) => others.reduce((bits, other) => bits | (other[n] as number), byte));
}

const isMaking = (name: string): boolean => name === makingName || name === deadMakingName || name.endsWith(repairSuffix);

const isIdEntry = (kind: number | undefined): boolean => kind === SegmentEntryKind.dedupeId || kind === SegmentEntryKind.rememberedId;
