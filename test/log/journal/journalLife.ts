import { expect } from "vitest";
import { ByteBudget } from "../../../src/base/byteBudget.ts";
import type { Clock, Timer } from "../../../src/base/clock.ts";
import { type Logger, silentLogger } from "../../../src/base/logger.ts";
import { Random } from "../../../src/base/random.ts";
import type { JournalTenants, JournalVisitor, KeptRun, QueueJournal } from "../../../src/log/contract/queueJournal.ts";
import { cutEntryBytes, decodeCut, fileHeaderBytes } from "../../../src/log/journal/files/format.ts";
import { openJournal } from "../../../src/log/journal/openJournal.ts";
import { ordinalOf, serialOf } from "../../../src/log/journal/segments/segment.ts";
import { parseSegmentFileName } from "../../../src/log/journal/segments/segmentFormat.ts";
import type { SegmentRun } from "../../../src/log/journal/segments/segmentRun.ts";
import { Address } from "../../../src/record/address.ts";
import { Receipt } from "../../../src/record/receipt.ts";
import { type Fault, SimulatedFileSystem, type SyncKind } from "../../support/simulatedFileSystem.ts";
import { copyKey, judge, type ModelMessage, Replayed } from "./journalModel.ts";

const fileBytes = 4096;
/** A life has one of these: with many files none of them is emptied, they become free by themselves. */
const filesMax = [3, 4, 4, 40];
const address = new Address("orders", "eu.new");
const emptyMessage = {
  address: address.encoded,
  contentFormat: 1,
  content: Buffer.alloc(0),
  persistent: true,
  dedupeId: undefined,
  timestamp: 0,
} as const;

/** Time passes with the turns of the loop; after `stop` it stands still. */
class TurnClock implements Clock {
  private stopped = false;

  stop(): void {
    this.stopped = true;
  }

  now(): number {
    return 0;
  }

  monotonicMs(): number {
    return 0;
  }

  after(delayMs: number, then: () => void): Timer {
    let cancelled = false;
    const wait = (turns: number): void => {
      if (cancelled || this.stopped) return;
      if (turns === 0) then();
      else setImmediate(wait, turns - 1);
    };
    wait(Math.min(delayMs, 10));
    return {
      cancel() {
        cancelled = true;
      },
    };
  }
}

/** @param down a write failed, and the journal has not gone on yet */
export type IgnoreSync = (path: string, kind: SyncKind, lastNameChange: string, opening: boolean, down: boolean) => boolean;

/** A disk that refuses now and then, a few times in a row. */
const faults: readonly Omit<Fault, "times">[] = [
  { op: "write", path: ".journal", code: "EIO" },
  { op: "sync", path: ".journal", code: "EIO" },
  { op: "sync", path: ".journal", code: "EIO" },
  { op: "write", path: "next.spare", code: "ENOSPC" },
  { op: "sync", path: "next.spare", code: "EIO" },
  { op: "rename", path: "/journal", code: "EIO" },
  { op: "removeFile", path: "/journal", code: "EIO" },
  { op: "syncDirectory", path: "/journal", code: "EIO" },
  { op: "write", path: "-making", code: "ENOSPC" },
  { op: "sync", path: "-making", code: "EIO" },
];

/** What must have happened at least once in all lives together. */
export type Branch = keyof typeof noBranches;
export const noBranches = {
  "a file's content moved to a segment": 0,
  "segments merged, or rewritten": 0,
  "a segment removed": 0,
  "a restart that finds a segment": 0,
  "a restart that finds a list of what is gone": 0,
  "a restart that finds the journal file and its segment": 0,
  "a restart that finds a segment and the one that replaces it": 0,
  "a restart that finds a file in the making": 0,
  "a restart that finds a segment in the making": 0,
  "a restart that finds a run": 0,
  "a copy fetched from a run, and gone before others of it": 0,
  "a run that was moved into another segment": 0,
  "a run that was released unread": 0,
};

/** A run of which the model knows only that its live copies within the range are there. */
interface Part {
  readonly run: KeptRun;
  readonly from: number;
  readonly to: number;
}
/** And in those with a disk that refuses. */
export const noFaultBranches = {
  "a write or sync failed": 0,
  "going on failed too": 0,
  "the journal went on in another file": 0,
  "an end while the journal was down": 0,
  "a publish refused while it was down": 0,
  "a publish refused while the disk was full": 0,
  "a place told after a failure": 0,
  "the place of an id told after a failure": 0,
  "a message confirmed again after its publish failed": 0,
  "a restart that finds a cut": 0,
  "a restart that finds a file that was begun and given up": 0,
  "a restart that finds a gap where files were given up": 0,
  "a restart that finds a cut whose failed file was used again": 0,
  "a file made at a later try": 0,
};
export type FaultBranch = keyof typeof noFaultBranches;

/** One journal from its first start on through crashes, kills and closings, on a simulated disk. */
export class JournalLife {
  private readonly random: Random;
  private readonly filesMax: number;
  private fs: SimulatedFileSystem;
  private messages: ModelMessage[] = [];
  private readonly nextOffset = new Map<number, number>();
  private nextId = 0;
  private parts: Part[] = [];
  private opening = true;
  private clock = new TurnClock();
  /** Of the process that runs: what one that has ended still does comes to nothing. */
  private journal: QueueJournal | undefined;
  /** What settles after the end of a process is not heard. */
  private process = 0;
  readonly met: Record<Branch, number> = { ...noBranches };
  readonly metFaults: Record<FaultBranch, number> = { ...noFaultBranches };
  private down = false;
  private readonly damageSaid: string[] = [];
  private segmentsSeen: string[] = [];
  private readonly failed = new Set<ModelMessage>();

  constructor(
    private readonly seed: number,
    /** `diesAtRename`: every process dies with power when a file is about to be used again, best after a list of what is gone. */
    private readonly options: { readonly ignoreSync?: IgnoreSync; readonly faulty?: boolean; readonly diesAtRename?: boolean } = {},
  ) {
    const { ignoreSync } = options;
    this.random = new Random(seed);
    this.filesMax = this.random.pick(filesMax);
    const ignore =
      ignoreSync && ((path: string, kind: SyncKind, change: string) => ignoreSync(path, kind, change, this.opening, this.down));
    const forgottenStaysCached = seed % 2 === 0;
    this.fs = new SimulatedFileSystem(
      ignore === undefined ? { seed, forgottenStaysCached } : { seed, forgottenStaysCached, ignoreSync: ignore },
    );
  }

  /** @returns what went wrong, if anything */
  async run(processes: number): Promise<string | undefined> {
    for (this.process = 0; this.process < processes; this.process++) {
      const wrong = await this.oneProcess();
      if (wrong !== undefined) return `seed ${this.seed}, process ${this.process}: ${wrong}`;
    }
    return undefined;
  }

  /** What a dead process still says is not heard. */
  private logger(): Logger {
    const process = this.process;
    const heard =
      (hear: (text: string) => void): Logger["error"] =>
      (text) => {
        if (process === this.process) hear(text);
      };
    return {
      ...silentLogger,
      error: heard((text) => {
        if (text.startsWith("a write of the journal failed")) this.sawFault("a write or sync failed", (this.down = true));
        else if (text.startsWith("could not go on")) this.sawFault("going on failed too");
        else if (/damaged|missing/.test(text)) this.damageSaid.push(text);
      }),
      info: heard((text) => {
        if (text.startsWith("the journal goes on")) this.sawFault("the journal went on in another file", !(this.down = false));
      }),
      warn: heard((text) => {
        if (text.startsWith("could not make the next file")) this.sawFault("a file made at a later try");
      }),
    };
  }

  private open(visitor: JournalVisitor): Promise<QueueJournal> {
    const budget = new ByteBudget("journal", 1024 * 1024);
    const settings = {
      clock: this.clock,
      logger: this.logger(),
      budget,
      messageBytesMax: 100_000,
      fileBytes,
      bytesMax: fileBytes * this.filesMax,
      indexPageItems: 32,
    };
    return openJournal({ fileSystem: this.fs, directory: "/journal", ...settings }, visitor);
  }

  private async oneProcess(): Promise<string | undefined> {
    this.opening = true;
    await this.lookAtDisk();
    const replayed = new Replayed(this.tenants());
    const opened = this.open(replayed);
    if (this.random.below(8) === 0) {
      opened.catch(() => undefined);
      await this.turns(this.random.below(12));
      this.end();
      await opened.catch(() => undefined); // what it still does, it does to a dead machine
      return undefined;
    }
    let journal: QueueJournal;
    try {
      journal = await opened;
    } catch (error) {
      return String(error);
    }
    if (this.damageSaid.length > 0) return `the start says: ${this.damageSaid[0]}`;
    this.journal = journal;
    this.opening = false;
    await replayed.loadRuns(1 + this.random.below(20));
    const wrong = this.replayed(journal, replayed) ?? (await this.readAll(journal));
    if (wrong !== undefined) return wrong;
    const death = this.options.diesAtRename || this.random.below(3) === 0 ? this.deathAtRename() : new Promise<never>(() => undefined);
    for (let steps = this.random.below(this.options.diesAtRename ? 200 : 60); steps > 0; steps--) {
      const failure = await Promise.race([this.step(journal), death]);
      if (failure === "dead") return this.end("power");
      if (failure !== undefined) return failure;
    }
    this.sawFault("an end while the journal was down", this.down);
    if (this.random.below(5) === 0) {
      const closed = journal.close().then(
        () => journal.stats.failures === 0,
        () => false,
      );
      const outcome = await Promise.race([closed, death]);
      if (outcome === "dead") return this.end("power");
      // after a failure it may have given up what nobody was promised
      if (outcome) for (const message of this.messages) this.durable(message, new Set(message.live.keys()));
    }
    return this.end();
  }

  /** The power goes between the renaming of a file that is to be reused and the sync of that, best after a list of what is gone. */
  private deathAtRename(): Promise<"dead"> {
    const { fs } = this;
    const rename = fs.rename.bind(fs);
    let listed = false;
    return new Promise((resolve) => {
      fs.rename = async (from, to) => {
        await rename(from, to);
        if (fs !== this.fs) return;
        if (from.endsWith(".dead-making")) listed = true;
        if (!from.endsWith(".journal") || this.random.below(listed ? 1 : this.options.diesAtRename ? 1000 : 6) > 0) return;
        resolve("dead");
        await new Promise<never>(() => undefined);
      };
    });
  }

  private async lookAtDisk(): Promise<void> {
    if (this.process === 0) return;
    const names: string[] = await this.fs.list("/journal").catch(() => []);
    const segments = names.flatMap((name) => parseSegmentFileName(name) ?? []);
    const files = new Set(names.flatMap((name) => /^(\d+)\.journal$/.exec(name)?.[1] ?? []).map(Number));
    const saw = (branch: Branch, seen: boolean): void => {
      if (seen) this.met[branch]++;
    };
    const isReplaced = (one: (typeof segments)[number]): boolean =>
      segments.some((other) => other.generation > one.generation && other.first <= one.first && other.last >= one.last);
    saw("a restart that finds a segment", segments.length > 0);
    saw(
      "segments merged, or rewritten",
      segments.some(({ generation }) => generation > 0),
    );
    saw(
      "a restart that finds a list of what is gone",
      names.some((name) => name.endsWith(".dead")),
    );
    saw(
      "a restart that finds the journal file and its segment",
      segments.some(({ last }) => files.has(last)),
    );
    saw("a restart that finds a segment and the one that replaces it", segments.some(isReplaced));
    saw("a restart that finds a file in the making", names.includes("next.spare"));
    saw("a restart that finds a segment in the making", names.includes("next.segment-making"));
    const missed = this.segmentsSeen.filter((one) => !names.includes(one));
    saw("a file's content moved to a segment", segments.length > 0);
    saw("a segment removed", missed.length > 0);
    this.segmentsSeen = names.filter((name) => name.endsWith(".segment"));
    await this.lookAtCuts([...files].sort((a, b) => a - b));
  }

  private async lookAtCuts(files: readonly number[]): Promise<void> {
    for (const by of files) {
      const bytes = await this.fs.readFile(`/journal/${String(by).padStart(12, "0")}.journal`);
      const cut = decodeCut(bytes.subarray(fileHeaderBytes, fileHeaderBytes + 2 * cutEntryBytes), by);
      if (cut === undefined) continue;
      const between = files.filter((file) => file > cut.sequence && file < by);
      this.sawFault("a restart that finds a cut");
      this.sawFault("a restart that finds a file that was begun and given up", between.length > 0);
      this.sawFault("a restart that finds a gap where files were given up", between.length < by - cut.sequence - 1);
      this.sawFault("a restart that finds a cut whose failed file was used again", !files.includes(cut.sequence));
    }
  }

  private sawFault(branch: FaultBranch, seen = true): void {
    if (seen) this.metFaults[branch]++;
  }

  private end(how: "power" | "any" = "any"): undefined {
    this.clock.stop();
    this.clock = new TurnClock();
    this.down = false;
    this.journal = undefined;
    this.fs = how === "any" && this.random.below(3) === 0 ? this.fs.kill() : this.fs.crash();
  }

  private replayed(journal: QueueJournal, replayed: Replayed): string | undefined {
    const verdict = judge(this.messages, replayed);
    if (typeof verdict === "string") return verdict;
    this.messages = verdict;
    const inRuns = new Set(replayed.copies.map(({ position }) => position));
    for (const { live, remembered } of verdict) {
      for (const position of remembered.values()) journal.pin(position);
      for (const position of live.values()) if (position !== undefined && !inRuns.has(position)) journal.pin(position);
    }
    this.parts = [];
    for (const run of replayed.runs) {
      if (run.live > 0) this.met["a restart that finds a run"]++;
      if (this.random.below(4) > 0) this.forgetPlaces(run, run.firstOffset, run.lastOffset);
    }
    this.nextOffset.clear();
    for (const [queue, offset] of replayed.nextOffset) this.nextOffset.set(queue, offset);
    return undefined;
  }

  private async readAll(journal: QueueJournal): Promise<string | undefined> {
    for (const message of this.messages) {
      const wrong = message.live.size > 0 ? await this.read(journal, message) : undefined;
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  private async read(journal: QueueJournal, message: ModelMessage): Promise<string | undefined> {
    const key = this.random.pick([...message.live.keys()]);
    let found: Awaited<ReturnType<QueueJournal["read"]>> | undefined;
    while (found === undefined) {
      const position = await this.place(journal, message, key);
      if (position === undefined) return undefined;
      found = await journal.read(position).catch((error: unknown) => {
        if (message.live.get(key) === position) throw error;
        return undefined; // it was moved
      });
    }
    const same = found.content.equals(message.content) && found.address.equals(address.encoded) && found.contentFormat === 1;
    return same ? undefined : `message ${message.id} is read with other bytes`;
  }

  // ---- runs

  /** Of the copies in the run only the range is known from now on. */
  private forgetPlaces(run: KeptRun, from: number, to: number): void {
    const { segment, begin, end } = run as SegmentRun;
    for (const { live } of this.messages) {
      for (const [key, position] of live) {
        const [queue, offset] = key.split("/").map(Number) as [number, number];
        if (queue !== run.queue || offset < from || offset > to || position === undefined || position >= 0) continue;
        if (serialOf(position) === segment.serial && ordinalOf(position) >= begin && ordinalOf(position) < end) live.set(key, undefined);
      }
    }
    this.parts.push({ run, from, to });
  }

  /** Where a copy is; fetched from its run if it is not known. Undefined: the copy went away meanwhile, or the process did. */
  private async place(journal: QueueJournal, message: ModelMessage, key: string): Promise<number | undefined> {
    const [queue, offset] = key.split("/").map(Number) as [number, number];
    for (;;) {
      if (journal !== this.journal || !message.live.has(key)) return undefined;
      const position = message.live.get(key);
      if (position !== undefined) return position;
      const part = this.parts.find(({ run, from, to }) => run.queue === queue && from <= offset && to >= offset);
      if (part === undefined) throw new Error(`copy ${key} is in no run`);
      const loaded = await part.run.load({ from: offset, to: offset }, 1 + this.random.below(2)).catch((error: unknown) => {
        if (this.parts.includes(part) && !this.options.faulty) throw error;
        return undefined; // it is in another segment by now, or the disk refused
      });
      if (loaded === undefined || !this.parts.includes(part) || journal !== this.journal) continue;
      if (loaded.length !== 1) throw new Error(`copy ${key} is not in its run`);
      this.parts.splice(this.parts.indexOf(part), 1);
      if (part.from < offset) this.parts.push({ ...part, to: offset - 1 });
      if (part.to > offset) this.parts.push({ ...part, from: offset + 1 });
      message.live.set(key, loaded[0]?.position);
      if (part.from < offset) this.met["a copy fetched from a run, and gone before others of it"]++;
    }
  }

  /** Everything of a part is gone, unread. */
  private async releasePart(journal: QueueJournal): Promise<void> {
    if (this.parts.length === 0) return;
    const part = this.random.pick(this.parts);
    this.parts.splice(this.parts.indexOf(part), 1);
    const gone: [ModelMessage, string][] = [];
    for (const message of this.messages) {
      for (const [key, position] of message.live) {
        const [queue, offset] = key.split("/").map(Number) as [number, number];
        if (position === undefined && queue === part.run.queue && offset >= part.from && offset <= part.to) gone.push([message, key]);
      }
    }
    for (const [message, key] of gone) message.live.delete(key);
    try {
      await part.run.release(part, true);
      await journal.sync();
    } catch (error) {
      if (!this.options.faulty) throw error;
      return; // it is gone, but not for sure
    }
    this.met["a run that was released unread"]++;
    for (const [message, key] of gone) message.goneForSure.add(key);
  }

  private async step(journal: QueueJournal): Promise<string | undefined> {
    if (this.options.faulty && this.random.below(12) === 0) {
      this.fs.failNext({ ...this.random.pick(faults), times: 1 + this.random.below(this.random.pick([1, 2, 5])) });
    }
    const kind = this.random.below(21);
    if (kind < 9) for (let count = 1 + this.random.below(3); count > 0; count--) this.append(journal);
    else if (kind < 14) for (let count = 1 + this.random.below(6); count > 0; count--) await this.acknowledge(journal);
    else if (kind === 14) this.forget(journal);
    else if (kind === 15 && this.random.below(3) === 0) this.drop(journal);
    else if (kind === 16) await this.sync(journal);
    else if (kind === 17) {
      const message = this.someLive();
      if (message !== undefined) return this.read(journal, message);
    } else if (kind === 18) this.joinPending(journal);
    else if (kind === 19) {
      if (this.random.below(3) === 0) while (journal === this.journal && this.someLive() !== undefined) await this.acknowledge(journal);
    } else if (this.random.below(3) === 0) await this.releasePart(journal);
    await this.turns(this.random.below(4));
    return undefined;
  }

  private append(journal: QueueJournal): void {
    const refused = journal.stats.refused;
    if (refused !== undefined) {
      this.sawFault(refused === "JOURNAL_FULL" ? "a publish refused while the disk was full" : "a publish refused while it was down");
      expect(() => journal.append(emptyMessage, [{ queue: 1, offset: 0 }], 1, undefined)).toThrow(
        expect.objectContaining({ code: refused, retryable: true }) as Error,
      );
      return;
    }
    const queues = new Set(Array.from({ length: 1 + this.random.below(3) }, () => 1 + this.random.below(4)));
    const destinations = Array.from(queues, (queue) => {
      const offset = this.nextOffset.get(queue) ?? 0;
      this.nextOffset.set(queue, offset + 1);
      return { queue, offset };
    });
    const id = this.nextId++;
    const content = Buffer.alloc(this.random.below(this.random.below(10) === 0 ? 3500 : 300), `content ${id} `);
    const remembers = this.random.below(6) === 0;
    const dedupeId = remembers ? `ü ${id}` : undefined;
    const persistent = this.random.below(6) > 0;
    const message: ModelMessage = {
      id,
      destinations,
      dedupeId,
      persistent,
      content,
      position: 0,
      confirmed: false,
      live: new Map(),
      goneForSure: new Set(),
      remembered: new Map(),
    };
    const receipt = this.receipt(
      () => {
        message.confirmed = true;
      },
      () => this.failed.add(message),
    );
    const pins = destinations.length * (remembers ? 2 : 1);
    const input = { address: address.encoded, contentFormat: 1, content, persistent, dedupeId, timestamp: 1e12 + id } as const;
    message.position = journal.append(input, destinations, pins, receipt);
    for (const destination of destinations) {
      message.live.set(copyKey(destination), message.position);
      if (remembers) message.remembered.set(destination.queue, message.position);
    }
    receipt.seal();
    this.messages.push(message);
  }

  private async acknowledge(journal: QueueJournal): Promise<void> {
    const message = this.someLive();
    if (message === undefined) return;
    const key = this.random.pick([...message.live.keys()]);
    const position = await this.place(journal, message, key);
    if (position === undefined || journal !== this.journal) return;
    message.live.delete(key);
    const [queue, offset] = key.split("/").map(Number) as [number, number];
    journal.acknowledge(queue, offset, position);
  }

  /** An id leaves the window. */
  private forget(journal: QueueJournal): void {
    const message = this.messages.find(({ remembered }) => remembered.size > 0);
    if (message === undefined) return;
    const positions = [...message.remembered.values()];
    message.remembered.clear();
    for (const position of positions) journal.release(position);
  }

  private drop(journal: QueueJournal): void {
    if (journal.stats.refused === "JOURNAL_FAILED" && this.down) return;
    const queue = 1 + this.random.below(4);
    const below = this.nextOffset.get(queue) ?? 0;
    const dropped: [ModelMessage, string][] = [];
    const positions: number[] = [];
    for (const message of this.messages) {
      for (const [key, position] of message.live) {
        if (!key.startsWith(`${queue}/`)) continue;
        message.live.delete(key);
        if (position !== undefined) positions.push(position);
        dropped.push([message, key]);
      }
    }
    const parts = this.parts.filter(({ run }) => run.queue === queue);
    this.parts = this.parts.filter(({ run }) => run.queue !== queue);
    const receipt = this.receipt(() => {
      for (const [message, key] of dropped) message.goneForSure.add(key);
    });
    const drop = journal.drop(queue, this.random.below(2) === 0 ? below : Number.POSITIVE_INFINITY, receipt);
    receipt.seal();
    // some of them later, as a broker does with a long queue
    const process = this.process;
    const release = (all: readonly number[]): void => {
      for (const position of all) if (process === this.process) journal.release(position);
    };
    const later = this.random.below(positions.length + 1);
    release(positions.slice(0, later));
    const released = this.turns(this.random.below(30)).then(async () => {
      for (const part of parts) if (process === this.process) await part.run.release(part, false);
      release([...positions.slice(later), drop]);
    });
    released.catch((error: unknown) => {
      if (process === this.process) throw error;
    });
  }

  private async sync(journal: QueueJournal): Promise<void> {
    const before = this.messages.map((message) => [message, new Set(message.live.keys())] as const);
    try {
      await journal.sync();
    } catch {
      return;
    }
    for (const [message, live] of before) this.durable(message, live);
  }

  private durable(message: ModelMessage, live: ReadonlySet<string>): void {
    message.confirmed = true;
    for (const key of message.destinations.map(copyKey)) if (!live.has(key)) message.goneForSure.add(key);
  }

  private joinPending(journal: QueueJournal): void {
    const message = this.someLive();
    const positions = [...(message?.live.values() ?? [])].filter((position) => position !== undefined);
    if (message === undefined || positions.length === 0) return; // what is in a run is durable
    const receipt = this.receipt(() => {
      this.sawFault("a message confirmed again after its publish failed", this.failed.delete(message));
      message.confirmed = true;
    });
    journal.joinPending(this.random.pick(positions), receipt);
    receipt.seal();
  }

  private tenants(): JournalTenants {
    const process = this.process;
    const current = <T>(value: T): T | false => (process === this.process ? value : false);
    const find = (queue: number, offset: number, position: number): ModelMessage | undefined =>
      this.messages.find(({ live }) => live.get(copyKey({ queue, offset })) === position);
    const findId = (queue: number, id: string, position: number): ModelMessage | undefined =>
      this.messages.find(({ dedupeId, remembered }) => dedupeId === id && remembered.get(queue) === position);
    return {
      holds: (queue, offset, position) => current(find(queue, offset, position) !== undefined),
      remembers: (queue, id, position) => current(findId(queue, id, position) !== undefined),
      moved: (queue, offset, from, to) => {
        if (process === this.process) this.sawFault("a place told after a failure", to >= 0);
        return current(find(queue, offset, from)?.live.set(copyKey({ queue, offset }), to) !== undefined);
      },
      idMoved: (queue, id, from, to) => {
        if (process === this.process) this.sawFault("the place of an id told after a failure", to >= 0);
        return current(findId(queue, id, from)?.remembered.set(queue, to) !== undefined);
      },
      stretch: (run) => {
        if (process === this.process) this.stretch(run);
      },
      runMoved: (run, replaced) => {
        if (process !== this.process) return [];
        const moved = this.parts.filter((part) => replaced.includes(part.run));
        this.parts = this.parts.map((part) => (replaced.includes(part.run) ? { ...part, run } : part));
        if (moved.length > 0) this.met["a run that was moved into another segment"]++;
        return moved;
      },
    };
  }

  private stretch(run: KeptRun): void {
    const ofRun = this.messages.flatMap(({ live }) => [...live.keys()]).map((key) => key.split("/").map(Number) as [number, number]);
    const offsets = ofRun.flatMap(([queue, offset]) =>
      queue === run.queue && offset >= run.firstOffset && offset <= run.lastOffset ? offset : [],
    );
    if (offsets.length === 0 || this.random.below(4) === 0) return;
    const ends = [this.random.pick(offsets), this.random.pick(offsets)];
    this.forgetPlaces(run, Math.min(...ends), Math.max(...ends));
  }

  private receipt(settled: () => void, failed: () => void = () => undefined): Receipt {
    const process = this.process;
    return new Receipt((failure) => {
      if (process !== this.process) return;
      if (failure === undefined) settled();
      else failed();
    });
  }

  private someLive(): ModelMessage | undefined {
    const live = this.messages.filter((message) => message.live.size > 0);
    return live.length === 0 ? undefined : this.random.pick(live);
  }

  private async turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
