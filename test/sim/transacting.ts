/** Transactions as a coordinator and its producers make them, and what readers of committed records may see of them. */
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { Isolation, SyncPolicy } from "../../src/log/contract/partitionedLog.ts";
import { batchPositions, endOffsetOf, records } from "../../src/record/batch.ts";
import { BatchBuilder } from "../../src/record/batchBuilder.ts";
import { BatchAttribute, baseOffsetAt, batchBytesAt, lastOffsetAt, producerIdAt } from "../../src/record/batchHeader.ts";
import { isControlAt, markerAt } from "../../src/record/controlBatch.ts";
import { demand } from "./violation.ts";
import { codeOf, endTurnsMax, type Operation, unexpected, type World } from "./world.ts";

interface Part {
  readonly id: number;
  readonly records: number;
  fate: "open" | "kept" | "unclear";
}

interface Transaction {
  readonly parts: Part[];
  /** Once it was asked for, it is asked for until it is answered. */
  outcome: "commit" | "abort" | undefined;
  ended: boolean;
}

interface Producer {
  readonly id: number;
  epoch: number;
  sequence: number;
  busy: boolean;
  current: Transaction | undefined;
}

/** A batch as it lies in the log. */
interface Found {
  readonly base: number;
  readonly next: number;
  readonly producer: number;
  readonly marker: "commit" | "abort" | undefined;
  readonly ids: readonly number[];
}

const failures = new Set(["LOG_FAILED", "LOG_DISK_FULL", "LOG_NOT_OPENED", "LOG_CLOSED", "KEYED_STORE_FAILED", "KEYED_STORE_UNAVAILABLE"]);

class Ledger {
  readonly producers: Producer[] = [1, 2].map((id) => ({ id, epoch: 0, sequence: 0, busy: false, current: undefined }));
  /** Which transaction a batch is of; none: it is of no transaction. */
  readonly parts = new Map<number, { readonly part: Part; readonly transaction: Transaction | undefined }>();
  /** A marker that was answered may have been taken back: the coordinator comes back with the next process. */
  isWithoutCoordinator = false;

  constructor(
    readonly name: string,
    readonly sync: SyncPolicy,
  ) {}
}

export class Transacting {
  readonly ledgers = [new Ledger("ledger", { kind: "always" }), new Ledger("journalled", { kind: "interval", ms: 20 })];

  constructor(private readonly world: World) {}

  get operations(): readonly Operation[] {
    return [
      { name: "append in a transaction", weight: 5, run: () => this.append(true) },
      { name: "append beside transactions", weight: 2, run: () => this.append(false) },
      { name: "end a transaction", weight: 4, run: () => this.end() },
      { name: "read what is committed", weight: 2, run: () => this.read() },
    ];
  }

  async create(): Promise<void> {
    for (const { name, sync } of this.ledgers) await this.world.node.log.createTopic(name, { partitions: 1, sync, segmentBytes: 2500 });
    this.watch();
  }

  private watch(): void {
    const { life } = this.world;
    for (const ledger of this.ledgers) {
      ledger.isWithoutCoordinator = false;
      this.topic(ledger).onCut(() => {
        if (life === this.world.life && ledger.sync.kind !== "always") ledger.isWithoutCoordinator = true;
      });
    }
  }

  private async append(inTransaction: boolean): Promise<void> {
    const ledger = this.world.random.pick(this.ledgers);
    const producer = this.world.random.pick(ledger.producers);
    const { life } = this.world;
    if (
      inTransaction &&
      (ledger.isWithoutCoordinator || producer.busy || producer.current?.outcome !== undefined || this.isBroken(producer.current))
    )
      return;
    const part: Part = { id: this.world.nextId(), records: 1 + this.world.random.below(4), fate: "open" };
    let transaction: Transaction | undefined;
    if (inTransaction) {
      producer.current ??= { parts: [], outcome: undefined, ended: false };
      transaction = producer.current;
      transaction.parts.push(part);
    }
    ledger.parts.set(part.id, { part, transaction });
    const bytes = this.encode(part, inTransaction ? producer : undefined);
    if (inTransaction) {
      producer.sequence += part.records;
      producer.busy = true;
    }
    const sent = this.topic(ledger)
      .appendBatch(0, bytes)
      .then(
        () => {
          if (life === this.world.life) part.fate = "kept";
        },
        (error: unknown) => {
          if (life !== this.world.life) return;
          part.fate = "unclear";
          // what was confirmed and not synced was cut off with its sequence
          const wasCut = codeOf(error) === "OUT_OF_ORDER_SEQUENCE" && this.world.troubled && ledger.sync.kind !== "always";
          if (!wasCut) this.explained("appending in a transaction", error);
        },
      )
      .finally(() => {
        if (inTransaction && life === this.world.life) producer.busy = false;
      });
    const outcome = await this.world.until(sent);
    if (outcome?.error !== undefined) throw outcome.error;
  }

  private isBroken(transaction: Transaction | undefined): boolean {
    return transaction?.parts.some(({ fate }) => fate === "unclear") === true;
  }

  private async end(): Promise<void> {
    const ledger = this.world.random.pick(this.ledgers);
    const producer = this.world.random.pick(ledger.producers);
    const { current } = producer;
    if (current === undefined || producer.busy || ledger.isWithoutCoordinator) return;
    const { life } = this.world;
    const broken = this.isBroken(current);
    if (broken && current.outcome === undefined) producer.epoch++; // fences whatever is still on its way
    current.outcome ??= broken || this.world.random.below(3) === 0 ? "abort" : "commit";
    producer.busy = true;
    const { outcome } = current;
    const ended = this.topic(ledger)
      .endTransaction(0, { producerId: BigInt(producer.id), epoch: producer.epoch, coordinatorEpoch: 1, outcome })
      .then(
        () => {
          if (life !== this.world.life) return;
          this.world.note(outcome === "commit" ? "a transaction is committed" : "a transaction is aborted");
          current.ended = true;
          producer.current = undefined;
          if (broken) producer.sequence = 0;
        },
        (error: unknown) => {
          if (life === this.world.life) this.explained("ending a transaction", error);
        },
      )
      .finally(() => {
        if (life === this.world.life) producer.busy = false;
      });
    const settled = await this.world.until(ended);
    if (settled?.error !== undefined) throw settled.error;
  }

  private async read(): Promise<void> {
    const ledger = this.world.random.pick(this.ledgers);
    const read = await this.world.until(this.readAll(ledger, "read_committed"));
    if (read === undefined) return;
    if (read.error !== undefined) {
      if (this.world.troubled) return this.world.note("a read of what is committed fails and says so");
      throw unexpected(`reading what is committed in ${ledger.name}`, read.error);
    }
    for (const { ids } of read.value) {
      for (const id of ids) {
        const { transaction, part } = this.known(ledger, id);
        demand(
          transaction === undefined || transaction.outcome === "commit",
          () => `part ${part.id} in ${ledger.name} was read as committed and is not`,
        );
      }
    }
  }

  // ---- after a start

  async started(powerLost: boolean): Promise<void> {
    this.watch();
    for (const ledger of this.ledgers) await this.look(ledger, powerLost && ledger.sync.kind !== "always");
  }

  private async look(ledger: Ledger, mayLose: boolean): Promise<void> {
    const all = await this.readAll(ledger, "read_uncommitted");
    const there = new Set<number>();
    const open = new Map<number, Found[]>();
    const committed: number[] = [];
    const aborted = new Set<number>();
    for (const found of all) {
      for (const id of found.ids) {
        demand(!there.has(id), () => `part ${id} is in ${ledger.name} twice`);
        there.add(id);
      }
      const isIn = found.ids[0] !== undefined && this.known(ledger, found.ids[0]).transaction !== undefined;
      if (isIn) open.set(found.producer, [...(open.get(found.producer) ?? []), found]);
      if (found.marker === undefined) continue;
      const ended = open.get(found.producer) ?? [];
      open.delete(found.producer);
      for (const { ids } of ended) {
        for (const id of ids) {
          const { transaction } = this.known(ledger, id);
          demand(
            transaction?.outcome === found.marker,
            () =>
              `part ${id} in ${ledger.name} is of a transaction that ended with ${found.marker}, and ${transaction?.outcome} was asked for`,
          );
          if (found.marker === "abort") aborted.add(id);
        }
      }
    }
    const stable = Math.min(...[...open.values()].map(([first]) => (first as Found).base), all.at(-1)?.next ?? 0);
    for (const { ids, base } of all) for (const id of ids) if (base < stable && !aborted.has(id)) committed.push(id);
    this.checkKept(ledger, there, open, mayLose);
    await this.checkCommitted(ledger, committed, stable, open);
    for (const [id, { part }] of ledger.parts) {
      if (there.has(id)) part.fate = "kept";
      else ledger.parts.delete(id);
    }
    for (const producer of ledger.producers) this.takeUp(ledger, producer, open.get(producer.id));
  }

  private checkKept(ledger: Ledger, there: ReadonlySet<number>, open: ReadonlyMap<number, readonly Found[]>, mayLose: boolean): void {
    if (mayLose) return;
    for (const [id, { part, transaction }] of ledger.parts) {
      demand(part.fate !== "kept" || there.has(id), () => `part ${id} of ${ledger.name} is lost`);
      const isOpen = [...open.values()].some((parts) => parts.some(({ ids }) => ids.includes(id)));
      demand(transaction?.ended !== true || !isOpen, () => `the end of the transaction of part ${id} in ${ledger.name} is lost`);
    }
  }

  private async checkCommitted(
    ledger: Ledger,
    expected: readonly number[],
    stable: number,
    open: ReadonlyMap<number, readonly Found[]>,
  ): Promise<void> {
    const found = await this.readAll(ledger, "read_committed");
    const ids = found.flatMap((one) => one.ids);
    demand(ids.join() === expected.join(), () => `${ledger.name} gives ${ids.join()} as committed, and not ${expected.join()}`);
    const topic = this.topic(ledger);
    demand(topic.lastStableOffset(0) === stable, () => `${ledger.name} is stable up to ${topic.lastStableOffset(0)}, and not to ${stable}`);
    const outcome = await this.world.until(topic.openTransactions(0), endTurnsMax);
    if (outcome?.value === undefined) throw unexpected("asking for open transactions", outcome?.error);
    const openIds = outcome.value.map(({ producerId }) => Number(producerId)).sort();
    demand(
      openIds.join() === [...open.keys()].sort().join(),
      () => `${ledger.name} has open transactions of ${openIds.join()}, and not of ${[...open.keys()].join()}`,
    );
  }

  /** A coordinator that comes back aborts what is open, and gives each producer a new epoch. */
  private takeUp(ledger: Ledger, producer: Producer, open: readonly Found[] | undefined): void {
    producer.busy = false;
    producer.epoch++;
    producer.sequence = 0;
    const first = open?.[0]?.ids[0];
    producer.current = first === undefined ? undefined : this.known(ledger, first).transaction;
    if (producer.current === undefined) return;
    this.world.note("a transaction is open after a start");
    producer.current.ended = false; // with a policy that may lose the end of the log
    producer.current.outcome ??= "abort";
  }

  // ---- within

  private topic({ name }: Ledger): EmbeddedTopic {
    const topic = this.world.node.log.topic(name);
    demand(topic !== undefined, () => `topic ${name} is not there`);
    return topic;
  }

  private known(ledger: Ledger, id: number): { readonly part: Part; readonly transaction: Transaction | undefined } {
    const known = ledger.parts.get(id);
    demand(known !== undefined, () => `${ledger.name} holds part ${id}, which nobody appended`);
    return known;
  }

  private encode({ id, records: count }: Part, producer: Producer | undefined): Buffer {
    const builder = new BatchBuilder();
    for (let i = 0; i < count; i++) {
      builder.append(
        { key: null, value: Buffer.from(`${id} ${"x".repeat(this.world.random.below(60))}`), headers: [], timestamp: this.world.now().ms },
        i,
      );
    }
    if (producer === undefined) builder.endBatch();
    else
      builder.endBatch({ id: BigInt(producer.id), epoch: producer.epoch, baseSequence: producer.sequence }, BatchAttribute.transactional);
    return Buffer.from(builder.bytes());
  }

  private async readAll(ledger: Ledger, isolation: Isolation): Promise<Found[]> {
    const descriptor = this.topic(ledger).description.partitions[0];
    demand(descriptor !== undefined, () => `${ledger.name} has no partition`);
    const reader = await this.world.node.log.openReader(descriptor, { isolation });
    const found: Found[] = [];
    try {
      const end = reader.highWatermark();
      for (let next = reader.startOffset(); next < end; ) {
        const bytes = await reader.read(next, 4096);
        for (const at of batchPositions(bytes)) {
          const batch = bytes.subarray(at, at + batchBytesAt(bytes, at));
          demand(baseOffsetAt(batch, 0) === next, () => `${ledger.name}: ${baseOffsetAt(batch, 0)} follows where ${next} should`);
          next = lastOffsetAt(batch, 0) + 1;
          found.push(this.asFound(batch));
        }
        if (endOffsetOf(bytes) === undefined) break;
      }
    } finally {
      await reader.close();
    }
    return found;
  }

  private asFound(batch: Buffer): Found {
    const control = isControlAt(batch, 0);
    const ids = control ? [] : [...records(batch)].map(({ value }) => Number.parseInt(String(value), 10));
    return {
      base: baseOffsetAt(batch, 0),
      next: lastOffsetAt(batch, 0) + 1,
      producer: Number(producerIdAt(batch, 0)),
      marker: control ? markerAt(batch, 0)?.outcome : undefined,
      ids: [...new Set(ids)],
    };
  }

  private explained(what: string, error: unknown): void {
    if (!this.world.troubled || !failures.has(codeOf(error))) this.world.report(unexpected(what, error));
  }
}
