import { ByteBudget } from "../../../src/base/byteBudget.ts";
import type { Clock } from "../../../src/base/clock.ts";
import type { FileSystem } from "../../../src/base/fileSystem.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { Random } from "../../../src/base/random.ts";
import type { JournalVisitor, QueueJournal } from "../../../src/log/contract/queueJournal.ts";
import { openJournal } from "../../../src/log/journal/openJournal.ts";
import { Address } from "../../../src/record/address.ts";
import { Receipt } from "../../../src/record/receipt.ts";
import { SimulatedFileSystem, type SyncKind } from "../../support/simulatedFileSystem.ts";
import { copyKey, judge, type ModelMessage, Replayed } from "./journalModel.ts";

const fileBytes = 4096;
const address = new Address("orders", "eu.new");

/** Time passes with the turns of the loop. */
const turnClock: Clock = {
  now: () => 0,
  monotonicMs: () => 0,
  after(delayMs, then) {
    let cancelled = false;
    const wait = (turns: number): void => {
      if (cancelled) return;
      if (turns === 0) then();
      else setImmediate(wait, turns - 1);
    };
    wait(Math.min(delayMs, 10));
    return {
      cancel() {
        cancelled = true;
      },
    };
  },
};

export function openTestJournal(fileSystem: FileSystem, visitor: JournalVisitor, directory = "/journal"): Promise<QueueJournal> {
  const budget = new ByteBudget("journal", 1024 * 1024);
  const settings = { clock: turnClock, logger: silentLogger, budget, messageBytesMax: 100_000, fileBytes };
  return openJournal({ fileSystem, directory, ...settings }, visitor);
}

export type IgnoreSync = (path: string, kind: SyncKind, lastNameChange: string, opening: boolean) => boolean;

/** One journal from its first start on through crashes, kills and closings, on a simulated disk. */
export class JournalLife {
  private readonly random: Random;
  private fs: SimulatedFileSystem;
  private messages: ModelMessage[] = [];
  private readonly nextOffset = new Map<number, number>();
  private nextId = 0;
  private opening = true;
  /** What settles after the end of a process is not heard. */
  private process = 0;

  constructor(
    private readonly seed: number,
    ignoreSync?: IgnoreSync,
  ) {
    this.random = new Random(seed);
    const ignore = ignoreSync && ((path: string, kind: SyncKind, change: string) => ignoreSync(path, kind, change, this.opening));
    this.fs = new SimulatedFileSystem(ignore === undefined ? { seed } : { seed, ignoreSync: ignore });
  }

  /** @returns what went wrong, if anything */
  async run(processes: number): Promise<string | undefined> {
    for (this.process = 0; this.process < processes; this.process++) {
      const wrong = await this.oneProcess();
      if (wrong !== undefined) return `seed ${this.seed}, process ${this.process}: ${wrong}`;
    }
    return undefined;
  }

  private async oneProcess(): Promise<string | undefined> {
    this.opening = true;
    const replayed = new Replayed();
    const opened = openTestJournal(this.fs, replayed);
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
    this.opening = false;
    const wrong = this.replayed(journal, replayed) ?? (await this.readAll(journal));
    if (wrong !== undefined) return wrong;
    for (let steps = this.random.below(60); steps > 0; steps--) {
      const failure = await this.step(journal);
      if (failure !== undefined) return failure;
    }
    if (this.random.below(5) === 0) {
      await journal.close();
      for (const message of this.messages) this.durable(message, new Set(message.live));
    }
    this.end();
    return undefined;
  }

  private end(): void {
    this.fs = this.random.below(3) === 0 ? this.fs.kill() : this.fs.crash();
  }

  private replayed(journal: QueueJournal, replayed: Replayed): string | undefined {
    const verdict = judge(this.messages, replayed);
    if (typeof verdict === "string") return verdict;
    this.messages = verdict;
    for (const message of verdict) {
      for (let pins = message.live.size; pins > 0; pins--) journal.pin(message.position);
      if (message.remembered) for (const _ of message.destinations) journal.pin(message.position);
    }
    this.nextOffset.clear();
    for (const [queue, offset] of replayed.nextOffset) this.nextOffset.set(queue, offset);
    return undefined;
  }

  private async readAll(journal: QueueJournal): Promise<string | undefined> {
    for (const message of this.messages) {
      const wrong = message.live.size > 0 || message.remembered ? await this.read(journal, message) : undefined;
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  private async read(journal: QueueJournal, message: ModelMessage): Promise<string | undefined> {
    const found = await journal.read(message.position);
    const same = found.content.equals(message.content) && found.address.equals(address.encoded) && found.contentFormat === 1;
    return same ? undefined : `message ${message.id} is read with other bytes`;
  }

  private async step(journal: QueueJournal): Promise<string | undefined> {
    const kind = this.random.below(20);
    if (kind < 9) for (let count = 1 + this.random.below(3); count > 0; count--) this.append(journal);
    else if (kind < 14) for (let count = 1 + this.random.below(6); count > 0; count--) this.acknowledge(journal);
    else if (kind === 14) this.forget(journal);
    else if (kind === 15 && this.random.below(3) === 0) this.drop(journal);
    else if (kind === 16) await this.sync(journal);
    else if (kind === 17) {
      const message = this.someLive();
      if (message !== undefined) return this.read(journal, message);
    } else if (kind === 18) this.joinPending(journal);
    else if (this.random.below(3) === 0) while (this.someLive() !== undefined) this.acknowledge(journal);
    await this.turns(this.random.below(4));
    return undefined;
  }

  private append(journal: QueueJournal): void {
    const queues = new Set(Array.from({ length: 1 + this.random.below(3) }, () => 1 + this.random.below(4)));
    const destinations = Array.from(queues, (queue) => {
      const offset = this.nextOffset.get(queue) ?? 0;
      this.nextOffset.set(queue, offset + 1);
      return { queue, offset };
    });
    const id = this.nextId++;
    const content = Buffer.alloc(this.random.below(this.random.below(10) === 0 ? 3500 : 300), `content ${id} `);
    const remembered = this.random.below(6) === 0;
    const dedupeId = remembered ? `ü ${id}` : undefined;
    const persistent = this.random.below(6) > 0;
    const live = new Set(destinations.map(copyKey));
    const message = {
      id,
      destinations,
      dedupeId,
      persistent,
      content,
      position: 0,
      confirmed: false,
      live,
      goneForSure: new Set<string>(),
      remembered,
    };
    const receipt = this.receipt(() => {
      message.confirmed = true;
    });
    const pins = destinations.length * (remembered ? 2 : 1);
    const input = { address: address.encoded, contentFormat: 1, content, persistent, dedupeId, timestamp: 1e12 + id } as const;
    message.position = journal.append(input, destinations, pins, receipt);
    receipt.seal();
    this.messages.push(message);
  }

  private acknowledge(journal: QueueJournal): void {
    const message = this.someLive();
    if (message === undefined) return;
    const key = this.random.pick([...message.live]);
    message.live.delete(key);
    const [queue, offset] = key.split("/").map(Number) as [number, number];
    journal.acknowledge(queue, offset, message.position);
  }

  /** An id leaves the window. */
  private forget(journal: QueueJournal): void {
    const message = this.messages.find(({ remembered }) => remembered);
    if (message === undefined) return;
    message.remembered = false;
    for (const _ of message.destinations) journal.release(message.position);
  }

  private drop(journal: QueueJournal): void {
    const queue = 1 + this.random.below(4);
    const below = this.nextOffset.get(queue) ?? 0;
    const dropped: [ModelMessage, string][] = [];
    for (const message of this.messages) {
      for (const key of message.live) {
        if (!key.startsWith(`${queue}/`)) continue;
        message.live.delete(key);
        journal.release(message.position);
        dropped.push([message, key]);
      }
    }
    const receipt = this.receipt(() => {
      for (const [message, key] of dropped) message.goneForSure.add(key);
    });
    journal.drop(queue, this.random.below(2) === 0 ? below : Number.POSITIVE_INFINITY, receipt);
    receipt.seal();
  }

  private async sync(journal: QueueJournal): Promise<void> {
    const before = this.messages.map((message) => [message, new Set(message.live)] as const);
    await journal.sync();
    for (const [message, live] of before) this.durable(message, live);
  }

  private durable(message: ModelMessage, live: ReadonlySet<string>): void {
    message.confirmed = true;
    for (const key of message.destinations.map(copyKey)) if (!live.has(key)) message.goneForSure.add(key);
  }

  private joinPending(journal: QueueJournal): void {
    const message = this.someLive();
    if (message === undefined) return;
    const receipt = this.receipt(() => {
      message.confirmed = true;
    });
    journal.joinPending(message.position, receipt);
    receipt.seal();
  }

  private receipt(settled: () => void): Receipt {
    const process = this.process;
    return new Receipt((failure) => {
      if (failure === undefined && process === this.process) settled();
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
