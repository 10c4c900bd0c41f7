import type { Clock } from "../../../base/clock.ts";
import type { Logger } from "../../../base/logger.ts";
import { nextTurn } from "../../../base/nextTurn.ts";
import { RepeatedTrouble } from "../../../base/repeatedTrouble.ts";
import type { DiskRoomLeft } from "../../contract/embeddedLog.ts";
import type { JournalTenants, KeptRun, OffsetRange, QueueId } from "../../contract/queueJournal.ts";
import { isDiskFull } from "../files/diskRoom.ts";
import type { JournalFile } from "../files/journalFile.ts";
import type { JournalFiles } from "../files/journalFiles.ts";
import { destinationOf, type MessageEntry, messageAt, messagesOf } from "../files/journalMessages.ts";
import { LivingItems } from "./livingItems.ts";
import type { Segment } from "./segment.ts";
import { type Damage, SegmentMerge } from "./segmentMerge.ts";
import type { SegmentRun } from "./segmentRun.ts";
import type { Created, Segments } from "./segments.ts";
import type { SegmentWriter } from "./segmentWriter.ts";
import { checkedBytesPerItem, Slice } from "./slice.ts";

const retryAfterMs = 1000;
const acknowledgedPerTurnMax = 4096;
/** So many neighbours become one, at least: each item is then copied a few times at most. */
const mergedMin = 4;
/** And at most: of each there is a window of 256 KiB in memory meanwhile. */
const mergedMax = 64;
/** Of those together, so that what becomes of them surely fits. */
const mergedBytesMax = 2 ** 31;
/** A segment smaller than this part of a journal file isn't worth a rewrite of its own; it waits for its neighbours. */
const shrunkPartMin = 1 / 16;

/**
 * Moves what still lives in the oldest file of the journal into a segment when the journal has as many files as it may, and keeps the
 * segments few and full: those in which nothing lives go, those in which little lives are rewritten. One such job at a time.
 */
export class WriteBehind {
  stopped: Promise<void> = Promise.resolve();
  private running = false;
  private job: Promise<void> = Promise.resolve();
  /** Writes it down, as the queues' own acknowledgements. */
  acknowledged: (queue: QueueId, offset: number) => void = () => undefined;
  private stopping = false;
  private readonly trouble = new RepeatedTrouble();
  /** Replaced and not removed yet: in this order, and before anything else. */
  private readonly retired: Segment[] = [];

  constructor(
    private readonly files: JournalFiles,
    private readonly segments: Segments,
    private readonly tenants: JournalTenants,
    private readonly space: DiskRoomLeft,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {
    segments.hooks = {
      released: (segment) => {
        if (segment.aliveCount * 2 <= segment.items) this.wake();
      },
      releaseDurably: (run, range) => this.releaseDurably(run, range),
    };
  }

  /** There may be something to do. */
  wake(): void {
    if (this.running || this.stopping || this.files.writingIn === -1 || this.nextJob() === undefined) return;
    this.running = true;
    this.stopped = this.work();
  }

  release(position: number): void {
    const segment = this.segments.release(position);
    if (segment !== undefined && (segment.aliveCount === 0 || segment.aliveCount === (segment.items - 1) >>> 1)) this.wake();
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
          this.job = job();
          await this.job;
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
    const { toMove, toPutAside } = this.files;
    // what only removes comes first: on a full disk it makes the room that moving needs
    if (this.retired.length > 0) return () => this.removeRetired();
    const empty = this.segments.all.filter(({ aliveCount }) => aliveCount === 0);
    const removable = empty.find((segment) => this.countsAlone(segment));
    if (removable !== undefined) return () => this.replace([removable]);
    if (toMove !== undefined) return () => this.move(toMove);
    if (toPutAside) return () => this.files.putOldestAside();
    if (empty.length > 0) return () => this.replace(empty);
    const run = this.runToMerge();
    return run === undefined ? undefined : () => this.merge(run);
  }

  /** While the file of the journal is there, that is what counts after a crash, and not the segment. */
  private countsAlone({ name }: Segment): boolean {
    return name.last < (this.files.all[0]?.sequence ?? 0);
  }

  private async releaseDurably(run: SegmentRun, range: OffsetRange): Promise<void> {
    const { segment } = run;
    await this.files.freed();
    if (!this.countsAlone(segment) && (await this.acknowledgeEach(run, range))) return;
    await run.release(range, false);
    // what a job has just written may hold copies of what was released; it is settled when the job is done
    await this.job.catch(() => undefined);
    await this.segments.saveDead();
  }

  /** False: the segment was replaced meanwhile. */
  private async acknowledgeEach(run: SegmentRun, range: OffsetRange): Promise<boolean> {
    for (;;) {
      try {
        const copies = await run.load(range, acknowledgedPerTurnMax);
        if (run.segment.retired) return false;
        for (const { offset, position } of copies) {
          this.release(position);
          this.acknowledged(run.queue, offset);
        }
        if (copies.length < acknowledgedPerTurnMax) return true;
      } catch (error) {
        if (run.segment.retired) return false;
        throw error;
      }
      await nextTurn();
    }
  }

  // ---- out of the journal

  private async move(file: JournalFile): Promise<void> {
    const bytes = await this.readWhole(file);
    const items = new LivingItems();
    const damaged = await this.findLiving(file, bytes, items);
    if (items.count > 0) await this.space.take(bytes.length); // merging, which makes room, may use the reserve
    const name = { first: file.sequence, last: file.sequence, generation: 0 };
    const begin = file.sequence * this.files.fileBytes;
    const created = items.count === 0 ? undefined : await this.segments.create(name, (writer) => write(items, bytes, begin, writer));
    if (created !== undefined) {
      await this.switchTo(
        created,
        () => [],
        () => file.unpin(),
      );
      // a damaged entry is not in the segment: its copy stays where it was
      if (!damaged) for (const run of created.runs) this.tenants.stretch(run);
      created.segment.settled = true;
    }
    file.moved = true;
    if (damaged) file.damaged = true; // it is put aside next
  }

  private async findLiving(file: JournalFile, bytes: Buffer, items: LivingItems): Promise<boolean> {
    let damaged = false;
    const messages = messagesOf(bytes, this.files.identityOf(file), (at) => {
      damaged = true;
      this.logger.error("an entry of the journal is damaged; what else is in its file is saved", { file: file.path, position: at });
    });
    const slice = new Slice();
    for (const message of messages) {
      const { at, transient, contentBytes, dedupeId } = message;
      const from = file.sequence * this.files.fileBytes + at;
      for (let n = 0; n < message.destinations; n++) {
        const { queue, offset } = destinationOf(bytes, message, n);
        if (this.tenants.holds(queue, offset, from)) items.add(queue, offset, at, contentBytes, transient, false);
        if (dedupeId !== undefined && this.tenants.remembers(queue, dedupeId, from)) items.add(queue, offset, at, 0, transient, true);
      }
      if (slice.isOver(1 + message.destinations + contentBytes / checkedBytesPerItem)) await nextTurn();
    }
    return damaged;
  }

  private readWhole(file: JournalFile): Promise<Buffer> {
    return file.use(async (handle) => {
      const bytes = Buffer.allocUnsafeSlow(Math.min(this.files.fileBytes, file.countsTo));
      return bytes.subarray(0, await handle.read(bytes, 0, bytes.length, 0));
    });
  }

  /** What went away meanwhile stays dead in the segment, and its pin is the queue's to release where it was. */
  private async switchTo(
    { segment, runs, writer }: Created,
    switchRun: (run: Created["runs"][number]) => readonly OffsetRange[],
    unpinOld: () => void,
  ): Promise<void> {
    const { index } = writer;
    const slice = new Slice();
    let ids = 0;
    for (const run of runs) {
      // from the moment on that the queue has them by the new run, they live there
      const whole = switchRun(run).map(({ from, to }) => {
        const begin = run.itemFrom(from, index);
        const end = run.itemFrom(to + 1, index);
        segment.reviveCopies(begin, end, undefined);
        return { begin, end };
      });
      const { end } = run.idRange;
      for (let ordinal = run.begin; ordinal < end; ordinal++) {
        const range = whole.find((one) => ordinal >= one.begin && ordinal < one.end);
        if (range !== undefined) {
          ordinal = range.end - 1;
          continue;
        }
        const { queue, offset, isId } = index.item(ordinal);
        const from = writer.from(ordinal);
        const to = segment.positionOf(ordinal);
        const held = isId
          ? this.tenants.idMoved(queue, writer.ids[ids++] as string, from, to)
          : this.tenants.moved(queue, offset, from, to);
        if (held) {
          segment.revive(ordinal);
          unpinOld();
        }
        if (slice.isOver(1)) await nextTurn();
      }
    }
  }

  // ---- from segment to segment

  private runToMerge(): readonly Segment[] | undefined {
    const { all } = this.segments;
    const movable = all.filter((segment) => !segment.damaged && this.countsAlone(segment));
    const shrunk = movable.find(
      ({ header, aliveCount, items }) => header.indexAt >= this.files.fileBytes * shrunkPartMin && aliveCount * 2 < items,
    );
    if (shrunk !== undefined) return [shrunk];
    for (let end = movable.length; end >= mergedMin; end--) {
      let bytes = 0;
      let bytesBefore = 0;
      let begin = end;
      for (; begin > 0 && end - begin < mergedMax; begin--) {
        const segment = movable[begin - 1] as Segment;
        const size = segment.aliveBytesAbout;
        bytesBefore += segment.header.indexAt;
        if ((begin < end && size > bytes * 2) || bytes + size > this.files.fileBytes / 2 || bytesBefore > mergedBytesMax) break;
        bytes += size;
      }
      if (end - begin >= mergedMin) return movable.slice(begin, end);
    }
    return undefined;
  }

  private async merge(segments: readonly Segment[]): Promise<void> {
    const first = (segments[0] as Segment).name.first;
    const last = (segments.at(-1) as Segment).name.last;
    const generation = Math.max(...segments.map(({ name }) => name.generation)) + 1;
    let damage: Damage | undefined;
    const created = await this.segments.create({ first, last, generation }, async (writer) => {
      const sources = segments.map((segment) => ({ segment, runs: this.segments.runsOf(segment) }));
      const read = this.segments.readRange.bind(this.segments);
      damage = await new SegmentMerge(sources, this.segments.indexes, read, writer).run();
      return damage === undefined;
    });
    if (damage !== undefined) {
      const { segment, at } = damage;
      segment.damaged = true;
      this.logger.error("an entry or the index of a segment is damaged; the segment stays as it is", { file: segment.path, position: at });
      return;
    }
    if (created !== undefined) {
      const replaced = new Map<QueueId, KeptRun[]>();
      for (const run of segments.flatMap((segment) => this.segments.runsOf(segment))) {
        const ofQueue = replaced.get(run.queue);
        if (ofQueue === undefined) replaced.set(run.queue, [run]);
        else ofQueue.push(run);
      }
      await this.switchTo(
        created,
        (run) => this.tenants.runMoved(run, replaced.get(run.queue) ?? []),
        () => undefined,
      );
      created.segment.settled = true;
    }
    await this.replace(segments);
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

/** What lives in a file of the journal, which is in memory and begins at this position. */
async function write(items: LivingItems, file: Buffer, begin: number, writer: SegmentWriter): Promise<boolean> {
  const slice = new Slice();
  for (const n of await items.inOrder()) {
    const [queue, offset, at] = [items.queue(n), items.offset(n), items.at(n)];
    const item = { queue, offset, bytes: items.bytes(n), transient: items.isTransient(n), from: begin + at };
    const { timestamp, dedupeId }: Pick<MessageEntry, "timestamp" | "dedupeId"> = items.isId(n)
      ? messageAt(file, at, file.readUInt32LE(at))
      : { timestamp: 0, dedupeId: undefined };
    const written = dedupeId === undefined ? writer.copy(item, file, at, at) : writer.id(item, timestamp, dedupeId);
    if (written !== undefined) await written;
    if (slice.isOver(2)) await nextTurn();
  }
  return true;
}
