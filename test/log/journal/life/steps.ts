import { expect } from "vitest";
import type { QueueJournal } from "../../../../src/log/contract/queueJournal.ts";
import { Address } from "../../../../src/record/address.ts";
import type { Fault } from "../../../support/simulatedFaults.ts";
import { copyKey, type ModelMessage } from "../journalModel.ts";
import type { JournalProcess } from "./journalProcess.ts";
import { copyOf, type LifeModel } from "./lifeModel.ts";
import { turns } from "./turnClock.ts";

const address = new Address("orders", "eu.new");
const emptyMessage = {
  address: address.encoded,
  contentFormat: 1,
  content: Buffer.alloc(0),
  persistent: true,
  dedupeId: undefined,
  timestamp: 0,
} as const;

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

/** What a process does with its journal, one random thing after the other. */
export class Steps {
  constructor(
    private readonly model: LifeModel,
    private readonly process: JournalProcess,
    private readonly journal: QueueJournal,
  ) {}

  /** @returns what went wrong, if anything */
  async step(): Promise<string | undefined> {
    const { random, faulty } = this.model;
    if (faulty && random.below(12) === 0) {
      this.process.fileSystem.failNext({ ...random.pick(faults), times: 1 + random.below(random.pick([1, 2, 5])) });
    }
    const kind = random.below(21);
    if (kind < 9) for (let count = 1 + random.below(3); count > 0; count--) this.append();
    else if (kind < 14) for (let count = 1 + random.below(6); count > 0; count--) await this.acknowledge();
    else if (kind === 14) this.forget();
    else if (kind === 15 && random.below(3) === 0) this.drop();
    else if (kind === 16) await this.sync();
    else if (kind === 17) {
      const message = this.model.someLive();
      if (message !== undefined) return this.read(message);
    } else if (kind === 18) this.joinPending();
    else if (kind === 19) {
      if (random.below(3) === 0) while (!this.process.isOver && this.model.someLive() !== undefined) await this.acknowledge();
    } else if (random.below(3) === 0) await this.releasePart();
    await turns(random.below(4));
    return undefined;
  }

  /** Everything that is there. @returns what went wrong, if anything */
  async readAll(): Promise<string | undefined> {
    for (const message of this.model.messages) {
      const wrong = message.live.size > 0 ? await this.read(message) : undefined;
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  private async read(message: ModelMessage): Promise<string | undefined> {
    const key = this.model.random.pick([...message.live.keys()]);
    let found: Awaited<ReturnType<QueueJournal["read"]>> | undefined;
    while (found === undefined) {
      const position = await this.process.parts.place(message, key);
      if (position === undefined) return undefined;
      found = await this.journal.read(position).catch((error: unknown) => {
        if (message.live.get(key) === position) throw error;
        return undefined; // it was moved
      });
    }
    const same = found.content.equals(message.content) && found.address.equals(address.encoded) && found.contentFormat === 1;
    return same ? undefined : `message ${message.id} is read with other bytes`;
  }

  private append(): void {
    const { journal, model } = this;
    const { random } = model;
    const refused = journal.stats.refused;
    if (refused !== undefined) {
      const branch = refused === "JOURNAL_FULL" ? "a publish refused while the disk was full" : "a publish refused while it was down";
      model.branches.sawFault(branch);
      expect(() => journal.append(emptyMessage, [{ queue: 1, offset: 0 }], 1, undefined)).toThrow(
        expect.objectContaining({ code: refused, retryable: true }) as Error,
      );
      return;
    }
    const queues = new Set(Array.from({ length: 1 + random.below(3) }, () => 1 + random.below(4)));
    const destinations = Array.from(queues, (queue) => {
      const offset = model.nextOffset.get(queue) ?? 0;
      model.nextOffset.set(queue, offset + 1);
      return { queue, offset };
    });
    const id = model.nextId++;
    const content = Buffer.alloc(random.below(random.below(10) === 0 ? 3500 : 300), `content ${id} `);
    const remembers = random.below(6) === 0;
    const dedupeId = remembers ? `ü ${id}` : undefined;
    const persistent = random.below(6) > 0;
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
    const receipt = this.process.receipt(
      () => {
        message.confirmed = true;
      },
      () => model.failed.add(message),
    );
    const pins = destinations.length * (remembers ? 2 : 1);
    const input = { address: address.encoded, contentFormat: 1, content, persistent, dedupeId, timestamp: 1e12 + id } as const;
    message.position = journal.append(input, destinations, pins, receipt);
    for (const destination of destinations) {
      message.live.set(copyKey(destination), message.position);
      if (remembers) message.remembered.set(destination.queue, message.position);
    }
    receipt.seal();
    model.messages.push(message);
  }

  private async acknowledge(): Promise<void> {
    const message = this.model.someLive();
    if (message === undefined) return;
    const key = this.model.random.pick([...message.live.keys()]);
    const position = await this.process.parts.place(message, key);
    if (position === undefined || this.process.isOver) return;
    message.live.delete(key);
    this.journal.acknowledge(...copyOf(key), position);
  }

  /** An id leaves the window. */
  private forget(): void {
    const message = this.model.messages.find(({ remembered }) => remembered.size > 0);
    if (message === undefined) return;
    const positions = [...message.remembered.values()];
    message.remembered.clear();
    for (const position of positions) this.journal.release(position);
  }

  private drop(): void {
    const { journal, process } = this;
    const { random, nextOffset, messages } = this.model;
    if (journal.stats.refused === "JOURNAL_FAILED" && process.isDown) return;
    const queue = 1 + random.below(4);
    const below = nextOffset.get(queue) ?? 0;
    const dropped: [ModelMessage, string][] = [];
    const positions: number[] = [];
    for (const message of messages) {
      for (const [key, position] of message.live) {
        if (!key.startsWith(`${queue}/`)) continue;
        message.live.delete(key);
        if (position !== undefined) positions.push(position);
        dropped.push([message, key]);
      }
    }
    const parts = process.parts.takeOf(queue);
    const receipt = process.receipt(() => {
      for (const [message, key] of dropped) message.goneForSure.add(key);
    });
    const drop = journal.drop(queue, random.below(2) === 0 ? below : Number.POSITIVE_INFINITY, receipt);
    receipt.seal();
    // some of them later, as a broker does with a long queue
    const release = (all: readonly number[]): void => {
      for (const position of all) if (!process.isOver) journal.release(position);
    };
    const later = random.below(positions.length + 1);
    release(positions.slice(0, later));
    const released = turns(random.below(30)).then(async () => {
      for (const part of parts) if (!process.isOver) await part.run.release(part, false);
      release([...positions.slice(later), drop]);
    });
    released.catch((error: unknown) => {
      if (!process.isOver) throw error;
    });
  }

  private async sync(): Promise<void> {
    const before = this.model.messages.map((message) => [message, new Set(message.live.keys())] as const);
    try {
      await this.journal.sync();
    } catch {
      return;
    }
    for (const [message, live] of before) this.model.durable(message, live);
  }

  private joinPending(): void {
    const { model } = this;
    const message = model.someLive();
    const positions = [...(message?.live.values() ?? [])].filter((position) => position !== undefined);
    if (message === undefined || positions.length === 0) return; // what is in a run is durable
    const receipt = this.process.receipt(() => {
      model.branches.sawFault("a message confirmed again after its publish failed", model.failed.delete(message));
      message.confirmed = true;
    });
    this.journal.joinPending(model.random.pick(positions), receipt);
    receipt.seal();
  }

  /** Everything of a part is gone, unread. */
  private async releasePart(): Promise<void> {
    const { model } = this;
    const part = this.process.parts.takeOne();
    if (part === undefined) return;
    const gone: [ModelMessage, string][] = [];
    for (const message of model.messages) {
      for (const [key, position] of message.live) {
        const [queue, offset] = copyOf(key);
        if (position === undefined && queue === part.run.queue && offset >= part.from && offset <= part.to) gone.push([message, key]);
      }
    }
    for (const [message, key] of gone) message.live.delete(key);
    try {
      await part.run.release(part, true);
      await this.journal.sync();
    } catch (error) {
      if (!model.faulty) throw error;
      return; // it is gone, but not for sure
    }
    model.branches.saw("a run that was released unread");
    for (const [message, key] of gone) message.goneForSure.add(key);
  }
}
