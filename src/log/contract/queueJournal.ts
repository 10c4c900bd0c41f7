/**
 * The journal that all queues of a node share: a message once, with the queues that it went to. Embedded only.
 * Kept in files of a fixed size, zero-filled beforehand and reused: one write and one sync for all queues.
 */

import type { ContentFormat } from "../../record/message.ts";
import type { Receipt } from "../../record/receipt.ts";

/** A queue's number, given by the topology store, never reused. 1..2^32-1 */
export type QueueId = number;

/** One copy: the queue and the offset that the queue gave it. */
export interface Destination {
  readonly queue: QueueId;
  readonly offset: number;
}

export interface JournalMessage {
  /** `Address.encoded`. */
  readonly address: Uint8Array;
  readonly contentFormat: ContentFormat;
  readonly content: Uint8Array;
  /** A transient message is kept for its content only: replay does not bring it back, and nothing waits for its sync. */
  readonly persistent: boolean;
  /** The id to be remembered where a destination deduplicates. */
  readonly dedupeId: string | undefined;
  /** When it was taken, ms since 1970 UTC. */
  readonly timestamp: number;
}

/**
 * Where an entry is: a safe integer, greater for later entries. Negative once it was moved out of the journal's files: of such a one only
 * that it is durable. Only the journal looks into it.
 */
export type JournalPosition = number;

/**
 * Replay calls these: first what was moved out of the journal's files, by `kept` and `remembered`, for each queue in order of its offsets;
 * then the rest in the order in which the changes happened. Idempotent by (queue, offset).
 */
export interface JournalVisitor extends JournalTenants {
  /**
   * Copies that lie together. True: the queue has them, and they are pinned from now on; what is said afterwards of those that are gone
   * the run knows already. False: nobody wants them.
   */
  kept(run: KeptRun): boolean;
  remembered(id: RememberedId): void;
  /** After a clean stop, in place of the journal's entries: what of a queue lives beside its runs. */
  stopped(queue: StoppedQueue): void;
  message(message: ReplayedMessage): void;
  acknowledged(queue: QueueId, offset: number): void;
  /** Everything of the queue below `offset` is gone (purge), or all of it (deletion: offset = Infinity). */
  dropped(queue: QueueId, belowOffset: number): void;
}

/**
 * What lives in the journal, asked when a file's space is needed: what still lives in it moves out of it, and gets new positions; and when
 * a write or sync has failed: what was not synced gets a place in another file. Asked at any time after the replay, never from within a
 * call of the journal.
 */
export interface JournalTenants {
  /** Does the queue still have this copy, ready or unacknowledged, and have it at `position`? */
  holds(queue: QueueId, offset: number, position: JournalPosition): boolean;
  /** Does the queue still remember this id, as of the entry at `position`? */
  remembers(queue: QueueId, dedupeId: string, position: JournalPosition): boolean;
  /**
   * The copy's pin is at `to` from now on. False: the queue does not have it there any more; its pin was or will be released where it was.
   */
  moved(queue: QueueId, offset: number, from: JournalPosition, to: JournalPosition): boolean;
  /** The same of a remembered id. */
  idMoved(queue: QueueId, dedupeId: string, from: JournalPosition, to: JournalPosition): boolean;
  /** Copies that were moved, each by itself, lie together: of those that were never delivered the queue may keep the run instead. */
  stretch(run: KeptRun): void;
  /**
   * What lives of `replaced` is in `run` too, and there from now on. Returns the offsets, first to last, of which the queue keeps only the
   * run; each other copy is told by `moved`.
   */
  runMoved(run: KeptRun, replaced: readonly KeptRun[]): readonly OffsetRange[];
}

/** Both ends belong to it. */
export interface OffsetRange {
  readonly from: number;
  readonly to: number;
}

/**
 * A queue's copies that were moved out of the journal's files and lie together, in order of their offsets. In memory it costs a bit a
 * copy; where each of them is comes from the disk when it is asked for. All that live are pinned.
 */
export interface KeptRun {
  readonly queue: QueueId;
  /** Of all copies that were ever in it. */
  readonly firstOffset: number;
  readonly lastOffset: number;
  /** Copies that live. Counted when asked. */
  readonly live: number;
  /** The first ones that live within the range, `most` of them; fewer than that: these are all. */
  load(range: OffsetRange, most: number): Promise<readonly KeptCopy[]>;
  /**
   * Releases the pins of all within the range that live, without reading them where it can be. `durably`: after a `sync` a restart does
   * not bring them back; else an entry must say that they are gone.
   */
  release(range: OffsetRange, durably: boolean): Promise<void>;
}

/** A copy that was moved out of the journal's files. */
export interface KeptCopy {
  readonly offset: number;
  readonly position: JournalPosition;
  readonly contentBytes: number;
  readonly persistent: boolean;
}

export interface RememberedId {
  readonly queue: QueueId;
  readonly offset: number;
  readonly position: JournalPosition;
  readonly dedupeId: string;
  readonly timestamp: number;
}

/** What a queue has that outlives a clean stop, beside what is in runs. */
export interface StoppedQueue {
  readonly queue: QueueId;
  /** One past the last offset that it gave. */
  readonly nextOffset: number;
  /** Of persistent messages, ready or not, in order of their offsets. */
  readonly copies: StoppedCopies;
  /** In the order in which they came. */
  readonly ids: readonly Pick<RememberedId, "dedupeId" | "position" | "timestamp">[];
}

/** In columns: there are as many of them as messages. */
export interface StoppedCopies {
  readonly offsets: Float64Array;
  /** JournalPosition. */
  readonly positions: Float64Array;
  /** Of the content. */
  readonly bytes: Uint32Array;
}

/** Acknowledgements may still change what they have while one goes through them. */
export type StoppedQueues = () => Iterable<StoppedQueue> | undefined;

export interface ReplayedMessage {
  readonly position: JournalPosition;
  readonly destinations: readonly Destination[];
  readonly dedupeId: string | undefined;
  readonly timestamp: number;
  readonly persistent: boolean;
  /** Bytes that `read` will return as content. */
  readonly contentBytes: number;
}

export interface QueueJournal {
  /**
   * Hot path: copies the message into the write buffer; the next group commit takes it. `pins` is the number of reasons to keep the
   * entry's file: one a destination, and one more for each destination that remembers its dedupe id. Persistent: `receipt` joins
   * that commit. Never waits: the bytes count in the shared ByteBudget until they are durable. Throws MESSAGE_TOO_LARGE,
   * JOURNAL_FULL while the disk has no room (later it may have), or JOURNAL_FAILED after a failed write or sync, until the journal goes on
   * in another file by itself. Who waited for a receipt then has failed; the message is not lost by that, it is moved (`JournalTenants`).
   */
  append(message: JournalMessage, destinations: readonly Destination[], pins: number, receipt: Receipt | undefined): JournalPosition;
  /** `receipt` joins what is not durable yet, if the entry at `position` is not. It fails at once while the journal is down. */
  joinPending(position: JournalPosition, receipt: Receipt): void;
  /**
   * The copy is consumed: remembered with the next commit (nobody waits), and its pin released. Waits in memory while nothing can be
   * written.
   */
  acknowledge(queue: QueueId, offset: number, position: JournalPosition): void;
  /** Releases a pin without an entry: a dedupe id that left its window; a copy that replay found already gone. */
  release(position: JournalPosition): void;
  /** Takes a pin in replay, one a reason, as `append` took them. */
  pin(position: JournalPosition): void;
  /**
   * Purge or deletion. The pins are the caller's to release; and when it has released them, that of the returned position, which keeps
   * this very entry until then. `receipt` joins the commit.
   */
  drop(queue: QueueId, belowOffset: number, receipt: Receipt | undefined): JournalPosition;
  /** The message again, checked by its CRC; also when it is still in the write buffer. JOURNAL_CORRUPT names file and position. */
  read(position: JournalPosition): Promise<{ readonly address: Buffer; readonly contentFormat: ContentFormat; readonly content: Buffer }>;
  /** Resolves when all that was appended so far is durable. */
  sync(): Promise<void>;
  /**
   * Syncs and closes; appends are refused from the first moment on.
   * @param queues asked when all is synced and nothing moves any more: with what they have the next start need not read the journal.
   * Undefined, or without it: it does.
   */
  close(queues?: StoppedQueues): Promise<void>;
  /** For operators: files in use, bytes in them, commits so far. */
  readonly stats: JournalStats;
}

interface JournalStats {
  readonly files: number;
  readonly bytes: number;
  readonly syncs: number;
  readonly bytesWritten: number;
  /** What lived longer than the journal's files. */
  readonly segments: number;
  readonly segmentBytes: number;
  /** Writes and syncs that failed, since the start. */
  readonly failures: number;
  /** Damaged entries that the start passed over. */
  readonly damagedEntries: number;
  /** Why no messages are taken now, if so: JOURNAL_FAILED, JOURNAL_FULL or JOURNAL_CLOSED. */
  readonly refused: string | undefined;
}
