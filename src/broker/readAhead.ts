import type { Clock } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { JournalPosition } from "../log/contract/queueJournal.ts";
import type { ContentCache } from "./contentCache.ts";
import type { Copy, KeptContent } from "./copy.ts";

const batchEntriesMax = 256;
export const batchBytesMax = 1024 * 1024;
/** Below the size of libuv's pool, which the syncs share. */
const readsInFlightMax = 2;
const retryAfterMs = 1000;

export interface ReadAheadSource {
  readonly name: string;
  /** The next ready copies, in order. */
  upcoming(): Iterable<Copy>;
  /** Where a copy is now, if it is ready: it may have been moved, or have gone. */
  positionOf(offset: number): JournalPosition | undefined;
  /** Content came: deliveries can go on. */
  arrived(): void;
  /** The copy can't be read, and never will be: out of the way with it. */
  unreadable(offset: number): void;
}

/** Brings the content of the next ready messages back from the journal, a batch at a time. */
export class ReadAhead {
  /** undefined: on its way. Whoever is taken meanwhile leaves, and what comes then for it is dropped. Made when the first is read. */
  private loaded: Map<number, KeptContent | undefined> | undefined;
  private busy = false;
  /** What was started under another number is not wanted any more. */
  private generation = 0;

  constructor(
    private readonly read: (position: JournalPosition) => Promise<KeptContent>,
    private readonly source: ReadAheadSource,
    private readonly room: ContentCache,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  /** The content of a copy, if it has come. */
  contentOf(copy: Copy): KeptContent | undefined {
    return copy.content ?? this.loaded?.get(copy.offset);
  }

  taken(offset: number): void {
    if (this.loaded === undefined) return;
    this.room.release(this.loaded.get(offset));
    this.loaded.delete(offset);
  }

  /** All ready messages went away. */
  clear(): void {
    this.generation++;
    this.loaded = undefined;
    this.room.clear();
  }

  /** The next batch, if none is on its way. */
  start(): void {
    if (this.busy) return;
    this.busy = true;
    const generation = this.generation;
    const batch = this.nextBatch();
    const lanes = Array.from({ length: readsInFlightMax }, () => this.lane(batch, generation));
    void Promise.all(lanes).then((results) => {
      const failure = results.find((result) => result !== undefined);
      if (failure === undefined) return this.done();
      if (isClosed(failure)) return; // nothing goes out any more
      this.logger.error("cannot read messages back from the journal; trying again", { queue: this.source.name, error: failure });
      this.clock.after(retryAfterMs, () => this.done());
    });
  }

  private done(): void {
    this.busy = false;
    this.source.arrived();
  }

  private nextBatch(): Iterator<Copy> {
    const loaded = (this.loaded ??= new Map());
    const batch: Copy[] = [];
    let seen = 0;
    let bytes = 0;
    let newBytes = 0;
    // what is loaded already counts as well: however often the first one comes back, no more than this is held
    for (const copy of this.source.upcoming()) {
      if (seen++ >= batchEntriesMax) break;
      // without room for more it is one at a time
      if (bytes > 0 && (bytes + copy.bytes > batchBytesMax || !this.room.hasRoom(newBytes + copy.bytes))) break;
      if (copy.content !== undefined) continue;
      bytes += copy.bytes;
      if (loaded.get(copy.offset) !== undefined) continue;
      loaded.set(copy.offset, undefined);
      newBytes += copy.bytes;
      batch.push(copy);
    }
    return batch.values();
  }

  /** Reads one after the other; the lanes share the batch. Returns what stopped it. */
  private async lane(batch: Iterator<Copy>, generation: number): Promise<unknown> {
    for (let next = batch.next(); !next.done; next = batch.next()) {
      const copy = next.value;
      const position = this.source.positionOf(copy.offset);
      if (position === undefined || !this.loaded?.has(copy.offset)) continue; // its entry may be gone with it
      try {
        const content = await this.read(position);
        if (generation === this.generation && this.loaded?.has(copy.offset)) {
          this.loaded?.set(copy.offset, content);
          this.room.take(content);
        }
      } catch (error) {
        if (generation !== this.generation) return undefined;
        if (!this.loaded?.has(copy.offset)) continue;
        if (this.source.positionOf(copy.offset) !== position) {
          this.loaded?.delete(copy.offset); // it was moved, and the file that was read is gone: in the next batch
          continue;
        }
        if (!isDamage(error)) return error;
        this.logger.error("a message in the journal is damaged and cannot be delivered", {
          queue: this.source.name,
          offset: copy.offset,
          error,
        });
        this.loaded?.delete(copy.offset);
        this.source.unreadable(copy.offset);
      }
      if (generation !== this.generation) return undefined;
    }
    return undefined;
  }
}

/** The node stops. */
export const isClosed = (error: unknown): boolean => error instanceof MillraceError && error.code === "JOURNAL_CLOSED";

/** Trying again will not help. */
export const isDamage = (error: unknown): boolean => error instanceof MillraceError && error.code === "JOURNAL_CORRUPT";
