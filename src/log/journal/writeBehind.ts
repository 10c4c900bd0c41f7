import type { Clock } from "../../base/clock.ts";
import type { Logger } from "../../base/logger.ts";
import { RepeatedTrouble } from "../../base/repeatedTrouble.ts";
import type { JournalTenants } from "../contract/queueJournal.ts";
import { isDiskFull } from "./diskRoom.ts";
import { EntryKind, entryHeadBytes, isEntry } from "./format.ts";
import type { JournalFile } from "./journalFile.ts";
import type { JournalFiles } from "./journalFiles.ts";
import { destinationOf, messagesOf } from "./journalMessages.ts";
import { ordinalOf, type Segment, serialOf } from "./segment.ts";
import type { Segments } from "./segments.ts";
import { type LivingItem, LivingItems } from "./segmentWriter.ts";

/** Looked at before the loop goes on; about 2 ms. */
const itemsPerSliceMax = 2000;
const retryAfterMs = 1000;
/** So many neighbours become one, at least: each item is then copied a few times at most. */
const mergedMin = 4;
/** A segment smaller than this part of a journal file isn't worth a rewrite of its own; it waits for its neighbours. */
const shrunkPartMin = 1 / 16;

/**
 * Moves what still lives in the oldest file of the journal into a segment when the journal has as many files as it may, and keeps the
 * segments few and full: those in which nothing lives go, those in which little lives are rewritten. One such job at a time.
 */
export class WriteBehind {
  stopped: Promise<void> = Promise.resolve();
  private running = false;
  private stopping = false;
  private readonly trouble = new RepeatedTrouble();
  /** Replaced and not removed yet: in this order, and before anything else. */
  private readonly retired: Segment[] = [];

  constructor(
    private readonly files: JournalFiles,
    private readonly segments: Segments,
    private readonly tenants: JournalTenants,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  /** There may be something to do. */
  wake(): void {
    if (this.running || this.stopping || this.files.writingIn === -1 || this.nextJob() === undefined) return;
    this.running = true;
    this.stopped = this.work();
  }

  release(position: number): void {
    const segment = this.segments.release(position);
    if (segment !== undefined && (segment.aliveCount === 0 || segment.aliveCount === segment.items >>> 1)) this.wake();
  }

  /** Before a file of the journal goes: what it says of the segments is durable without it, and no segment that is gone comes back. */
  async saveDead(): Promise<void> {
    await this.removeRetired();
    await this.segments.saveDead();
  }

  stop(): void {
    this.stopping = true;
  }

  private async work(): Promise<void> {
    try {
      for (;;) {
        await nextTurn();
        const job = this.stopping ? undefined : this.nextJob();
        if (job === undefined) break;
        try {
          await this.files.hold();
          await job();
          this.files.room.found("segment");
        } finally {
          this.files.letGo();
        }
      }
      this.files.room.found("segment"); // what needed it may be consumed
      if (this.trouble.over()) this.logger.info("what lives in the journal is moved again, or gone");
      this.running = false;
    } catch (error) {
      // without room for the segment there is soon none in the journal either
      if (isDiskFull(error)) this.files.room.lacks("segment", error);
      if (this.trouble.isNews(error)) this.logger.warn("could not move what lives in the journal; trying again", { error });
      this.clock.after(retryAfterMs, () => {
        this.stopped = this.work();
      });
    }
  }

  private nextJob(): (() => Promise<void>) | undefined {
    const { toMove } = this.files;
    if (toMove !== undefined) return () => this.move(toMove);
    if (this.retired.length > 0) return () => this.removeRetired();
    const empty = this.segments.all.find((segment) => segment.aliveCount === 0);
    if (empty !== undefined) return () => this.replace([empty]);
    const run = this.runToMerge();
    return run === undefined ? undefined : () => this.merge(run);
  }

  // ---- out of the journal

  private async move(file: JournalFile): Promise<void> {
    const bytes = await this.readWhole(file);
    const slice = new Slice();
    const items = new LivingItems();
    let damaged = false;
    const messages = messagesOf(bytes, this.files.identityOf(file), (at) => {
      damaged = true;
      this.logger.error("an entry of the journal is damaged; what else is in its file is saved", { file: file.path, position: at });
    });
    for (const message of messages) {
      const { at, transient, contentBytes, timestamp, dedupeId } = message;
      const from = file.sequence * this.files.fileBytes + at;
      for (let n = 0; n < message.destinations; n++) {
        const { queue, offset } = destinationOf(bytes, message, n);
        const item = { queue, offset, source: bytes, at, bytes: contentBytes, transient, timestamp, from };
        if (this.tenants.holds(queue, offset)) items.add({ ...item, dedupeId: undefined });
        if (dedupeId !== undefined && this.tenants.remembers(queue, dedupeId, from)) items.add({ ...item, bytes: 0, dedupeId });
      }
      if (slice.isOver(1 + message.destinations)) await nextTurn();
    }
    if (items.count > 0) {
      const segment = await this.segments.create({ first: file.sequence, last: file.sequence, generation: 0 }, items);
      await this.switchTo(segment, items, () => file.unpin());
    }
    file.moved = true;
    if (damaged) await this.files.putOldestAside();
  }

  private readWhole(file: JournalFile): Promise<Buffer> {
    return file.use(async (handle) => {
      const bytes = Buffer.allocUnsafeSlow(Math.min(this.files.fileBytes, file.countsTo));
      return bytes.subarray(0, await handle.read(bytes, 0, bytes.length, 0));
    });
  }

  /** What went away meanwhile stays dead in the segment, and its pin is the queue's to release where it was. */
  private async switchTo(segment: Segment, items: LivingItems, unpinOld: (item: LivingItem) => void): Promise<void> {
    const slice = new Slice();
    let ordinal = 0;
    for (const item of items) {
      const { queue, offset, dedupeId, from } = item;
      const to = segment.positionOf(ordinal);
      const held = dedupeId === undefined ? this.tenants.moved(queue, offset, from, to) : this.tenants.idMoved(queue, dedupeId, from, to);
      if (held) {
        segment.revive(ordinal);
        unpinOld(item);
      }
      ordinal++;
      if (slice.isOver(1)) await nextTurn();
    }
  }

  // ---- from segment to segment

  private runToMerge(): readonly Segment[] | undefined {
    const { all } = this.segments;
    const movable = all.filter(({ damaged, name }) => !damaged && name.last < (this.files.all[0]?.sequence ?? 0));
    const shrunk = movable.find(
      ({ header, aliveCount, items }) => header.indexAt >= this.files.fileBytes * shrunkPartMin && aliveCount * 2 < items,
    );
    if (shrunk !== undefined) return [shrunk];
    for (let end = movable.length; end >= mergedMin; end--) {
      let bytes = 0;
      let begin = end;
      for (; begin > 0; begin--) {
        const size = (movable[begin - 1] as Segment).aliveBytesAbout;
        if ((begin < end && size > bytes * 2) || bytes + size > this.files.fileBytes / 2) break;
        bytes += size;
      }
      if (end - begin >= mergedMin) return movable.slice(begin, end);
    }
    return undefined;
  }

  private async merge(run: readonly Segment[]): Promise<void> {
    const items = new LivingItems();
    const slice = new Slice();
    for (const segment of run) {
      const index = await this.segments.readItems(segment);
      const entries = await this.segments.readEntries(segment);
      for (const [ordinal, item] of index.entries()) {
        if (!segment.isAlive(ordinal)) continue;
        const { queue, offset, at, bytes, transient, isId } = item;
        if (!isEntry(entries, at, entries.length) || entries[at + 12] !== (isId ? EntryKind.dedupeId : EntryKind.message)) {
          segment.damaged = true;
          this.logger.error("an entry of a segment is damaged; the segment stays as it is", { file: segment.path, position: at });
          return;
        }
        const idBegin = at + entryHeadBytes + 8;
        const dedupeId = isId ? entries.toString("utf8", idBegin, at + entries.readUInt32LE(at)) : undefined;
        const timestamp = isId ? entries.readDoubleLE(at + entryHeadBytes) : 0;
        items.add({ queue, offset, source: entries, at, bytes, transient, dedupeId, timestamp, from: segment.positionOf(ordinal) });
        if (slice.isOver(1)) await nextTurn();
      }
    }
    if (items.count > 0) {
      const first = (run[0] as Segment).name.first;
      const last = (run.at(-1) as Segment).name.last;
      const generation = Math.max(...run.map(({ name }) => name.generation)) + 1;
      const bySerial = new Map(run.map((segment) => [segment.serial, segment]));
      const merged = await this.segments.create({ first, last, generation }, items);
      await this.switchTo(merged, items, ({ from }) => bySerial.get(serialOf(from))?.end(ordinalOf(from)));
    }
    await this.replace(run);
  }

  private async replace(segments: readonly Segment[]): Promise<void> {
    for (const segment of segments) this.segments.retire(segment);
    this.retired.push(...segments);
    await this.removeRetired();
  }

  private async removeRetired(): Promise<void> {
    for (let segment = this.retired[0]; segment !== undefined; segment = this.retired[0]) {
      await this.segments.remove(segment);
      this.retired.shift();
    }
  }
}

/** Work between two turns of the loop. */
class Slice {
  private done = 0;

  isOver(items: number): boolean {
    this.done += items;
    if (this.done < itemsPerSliceMax) return false;
    this.done = 0;
    return true;
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
