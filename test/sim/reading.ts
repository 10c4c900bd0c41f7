/** Readers that live long and short, searches by time, retention, deleted records. */
import type { PartitionReader, SyncPolicy } from "../../src/log/contract/partitionedLog.ts";
import { records } from "../../src/record/batch.ts";
import type { StoredRecord } from "../../src/record/record.ts";
import type { PartitionModel } from "./partitionModel.ts";
import type { TopicModel } from "./topicModel.ts";
import { demand } from "./violation.ts";
import { codeOf, mayGoBack, type Operation, unexpected, type World } from "./world.ts";

interface OpenReader {
  readonly topic: TopicModel;
  readonly model: PartitionModel;
  readonly partition: number;
  readonly reader: PartitionReader;
  next: number;
}

const readersMax = 6;
const deletedWhile = ["TOPIC_DELETED", "LOG_CLOSED"];
/** A disk that fails, or is full, explains these. */
const ofTheDisk = new Set([
  "LOG_FAILED",
  "TOPIC_NOT_MADE",
  "LOG_DISK_FULL",
  "LOG_NOT_OPENED",
  "LOG_CORRUPT",
  "LOG_READ_FAILED",
  "KEYED_STORE_FAILED",
  "KEYED_STORE_UNAVAILABLE",
  "EIO",
  "EMFILE",
  "ENOSPC",
]);

export class Reading {
  private open: OpenReader[] = [];
  /** Counted up when a partition is cut: what was read meanwhile says nothing. */
  readonly cuts = new Map<PartitionModel, number>();

  constructor(
    private readonly world: World,
    private readonly topics: ReadonlyMap<string, TopicModel>,
  ) {}

  get operations(): readonly Operation[] {
    return [
      { name: "read by offset", weight: 12, run: () => this.read() },
      { name: "read by timestamp", weight: 4, run: () => this.search() },
      { name: "read out of range", weight: 1, run: () => this.outOfRange() },
      { name: "delete records", weight: 3, run: () => this.deleteRecords() },
      { name: "retention", weight: 3, run: () => this.maintain() },
      { name: "sync a topic", weight: 2, run: () => this.sync() },
    ];
  }

  /** The process that had them open is dead. */
  started(): void {
    this.open = [];
    for (const topic of this.topics.values()) this.watch(topic);
  }

  /** Is told from now on when a partition is cut back. */
  watch(topic: TopicModel): void {
    const { life } = this.world;
    this.world.node.log.topic(topic.name)?.onCut((partition, offset) => {
      if (life !== this.world.life) return;
      try {
        const model = topic.partitions[partition] as PartitionModel;
        this.cuts.set(model, (this.cuts.get(model) ?? 0) + 1);
        this.world.note("a partition is cut back after a failure");
        model.cut(offset);
      } catch (error) {
        this.world.report(error);
      }
    });
  }

  /** All that a partition holds. */
  async readAll(topic: string, partition: number, tolerated: (error: unknown) => boolean = () => false): Promise<StoredRecord[]> {
    const descriptor = this.world.node.log.topic(topic)?.description.partitions[partition];
    if (descriptor === undefined) return [];
    const reader = await this.world.node.log.openReader(descriptor);
    const found: StoredRecord[] = [];
    try {
      const end = reader.highWatermark();
      for (let next = reader.startOffset(); next < end; ) {
        let batch: StoredRecord[];
        try {
          const from = next;
          batch = [...records(await reader.read(next, 8192))].filter(({ offset }) => offset >= from);
        } catch (error) {
          if (codeOf(error) === "OFFSET_OUT_OF_RANGE" && reader.startOffset() > next) {
            next = reader.startOffset(); // retention goes on meanwhile
            found.length = 0;
            continue;
          }
          if (!tolerated(error)) throw error;
          next++;
          continue;
        }
        if (batch.length === 0 && this.hasGoneBack(reader, this.topics.get(topic)?.config.sync, next)) break;
        demand(batch[0]?.offset === next, () => `${topic}-${partition}: offset ${batch[0]?.offset} is read where ${next} was asked for`);
        found.push(...batch);
        next = (batch.at(-1) as StoredRecord).offset + 1;
      }
    } finally {
      await reader.close();
    }
    return found;
  }

  private there(): TopicModel | undefined {
    const there = [...this.topics.values()].filter(({ existence }) => existence === "there");
    return there.length === 0 ? undefined : this.world.random.pick(there);
  }

  private async reader(): Promise<OpenReader | undefined> {
    const { random, node } = this.world;
    if (this.open.length > 0 && (this.open.length >= readersMax || random.below(3) > 0)) {
      if (random.below(12) > 0) return random.pick(this.open);
      const [closed] = this.open.splice(random.below(this.open.length), 1);
      await this.world.until((closed as OpenReader).reader.close());
      return undefined;
    }
    const topic = this.there();
    if (topic === undefined) return undefined;
    const partition = random.below(topic.partitions.length);
    const descriptor = node.log.topic(topic.name)?.description.partitions[partition];
    demand(descriptor !== undefined, () => `topic ${topic.name} is not there`);
    const reader = await node.log.openReader(descriptor);
    const opened = { topic, partition, reader, model: topic.partitions[partition] as PartitionModel, next: reader.startOffset() };
    this.open.push(opened);
    return opened;
  }

  private async read(): Promise<void> {
    const one = await this.reader();
    if (one === undefined) return;
    const { random } = this.world;
    const { reader, model } = one;
    const start = reader.startOffset();
    const end = reader.highWatermark();
    if (one.next < start || one.next > end || random.below(3) === 0) one.next = start + random.below(end - start + 1);
    const from = one.next;
    const cuts = this.cuts.get(model);
    const outcome = await this.world.until(reader.read(from, 1 + random.below(4000)));
    if (outcome === undefined) return;
    if (this.cuts.get(model) !== cuts) return;
    if (outcome.error !== undefined) return this.checkFailure(one, from, outcome.error);
    const found = [...records(outcome.value)];
    demand(
      found.length > 0 || from >= end || this.hasGoneBack(reader, model.sync, from),
      () => `${model.where}: nothing is read at ${from}, below the end at ${end}`,
    );
    if (found.length === 0) return;
    const [first] = found as [StoredRecord];
    demand(
      first.offset <= from && (found.at(-1) as StoredRecord).offset >= from,
      () => `${model.where}: ${from} was asked for and ${first.offset} read`,
    );
    const kept = found.filter(({ offset }) => offset >= Math.max(from, model.startOffset));
    model.read(kept, this.world.now());
    one.next = (found.at(-1) as StoredRecord).offset + 1;
  }

  private async search(): Promise<void> {
    const one = await this.reader();
    if (one === undefined) return;
    const { reader, model } = one;
    const timestamp = this.world.now().ms - this.world.random.below(4000);
    const cuts = this.cuts.get(model);
    const end = reader.highWatermark();
    const outcome = await this.world.until(reader.offsetForTimestamp(timestamp));
    if (outcome === undefined || this.cuts.get(model) !== cuts) return;
    if (outcome.error !== undefined) return this.checkFailure(one, undefined, outcome.error);
    if (mayGoBack(this.world, model.sync)) return;
    model.foundTimestamp(timestamp, outcome.value, reader.startOffset(), end);
  }

  /** With nothing else going on. */
  async searchSome(topic: string, partition: number, model: PartitionModel): Promise<void> {
    const descriptor = this.world.node.log.topic(topic)?.description.partitions[partition];
    if (descriptor === undefined) return;
    const reader = await this.world.node.log.openReader(descriptor);
    for (let n = 0; n < 2; n++) {
      const timestamp = model.someTimestamp(this.world.random) + this.world.random.below(3) - 1;
      const found = await this.world.until(reader.offsetForTimestamp(timestamp));
      if (found?.error !== undefined) throw unexpected(`searching ${model.where} by time`, found.error);
      if (found !== undefined) model.foundTimestamp(timestamp, found.value, reader.startOffset(), reader.highWatermark());
    }
    await reader.close();
  }

  private async outOfRange(): Promise<void> {
    const one = await this.reader();
    if (one === undefined) return;
    const start = one.reader.startOffset();
    const offset = start > 0 && this.world.random.below(2) === 0 ? start - 1 : one.reader.highWatermark() + 1000;
    const outcome = await this.world.until(one.reader.read(offset, 100));
    if (outcome === undefined || ["OFFSET_OUT_OF_RANGE", ...deletedWhile].includes(codeOf(outcome.error))) return;
    throw unexpected(`reading ${one.model.where} at ${offset}, which is out of range`, outcome.error);
  }

  private checkFailure(one: OpenReader, from: number | undefined, error: unknown): void {
    const code = codeOf(error);
    const { reader, model, topic } = one;
    if (deletedWhile.includes(code) && topic.existence !== "there") return this.forget(one);
    if (deletedWhile.includes(code) && this.world.node.log.topic(topic.name) !== undefined) return this.forget(one); // made again since
    if (code === "OFFSET_OUT_OF_RANGE" && from !== undefined && (from < reader.startOffset() || from > reader.highWatermark())) return;
    if (code === "OFFSET_OUT_OF_RANGE" && from === undefined && topic.hasRetention) return; // a search that retention overtook
    if (code === "LOG_CORRUPT" && mayGoBack(this.world, model.sync)) return;
    if (code === "LOG_READ_FAILED" && this.world.troubled) return this.world.note("a read fails and says so");
    throw unexpected(`reading ${model.where} at ${from}`, error);
  }

  /** So that nothing is there at `offset` now. */
  private hasGoneBack(reader: PartitionReader, sync: SyncPolicy | undefined, offset: number): boolean {
    return sync !== undefined && mayGoBack(this.world, sync) && offset >= reader.highWatermark();
  }

  private forget(one: OpenReader): void {
    this.open = this.open.filter((other) => other !== one);
  }

  private async deleteRecords(): Promise<void> {
    const topic = this.there();
    if (topic === undefined) return;
    const partition = this.world.random.below(topic.partitions.length);
    const model = topic.partitions[partition] as PartitionModel;
    const cuts = this.cuts.get(model);
    const read = await this.world.until(this.readAll(topic.name, partition)); // so that it is known what goes
    if (read === undefined || this.cuts.get(model) !== cuts || topic.existence !== "there") return;
    if (read.error !== undefined) {
      if (this.world.troubled && ofTheDisk.has(codeOf(read.error))) return;
      throw unexpected(`reading all of ${model.where}`, read.error);
    }
    model.read(read.value, this.world.now());
    const end = (read.value.at(-1)?.offset ?? model.startOffset - 1) + 1;
    const below = Math.max(model.startOffset, end - this.world.random.below(40));
    model.askedStart = Math.max(model.askedStart, below);
    const { life } = this.world;
    const deleted = this.world.node.log.deleteRecords(topic.name, partition, below).then((start) => {
      if (life !== this.world.life) return;
      demand(start >= below, () => `${model.where} begins at ${start} after everything below ${below} was deleted`);
      if (start > model.startOffset) model.startMoved(start);
    });
    const outcome = await this.world.until(deleted);
    if (outcome === undefined || outcome.error === undefined) return;
    if (this.cuts.get(model) !== cuts && codeOf(outcome.error) === "OFFSET_OUT_OF_RANGE") return;
    this.ofDisk(`deleting records of ${model.where}`, outcome.error);
  }

  private async maintain(): Promise<void> {
    const outcome = await this.world.until(this.world.node.log.maintain());
    if (outcome?.error !== undefined) throw unexpected("maintaining the log", outcome.error);
    this.followStarts();
  }

  /** Retention has moved on; what it took must have been its to take. */
  followStarts(): void {
    for (const topic of this.topics.values()) {
      const log = topic.existence === "there" ? this.world.node.log.topic(topic.name) : undefined;
      if (log === undefined) continue;
      for (const [partition, model] of topic.partitions.entries()) {
        const start = log.startOffset(partition);
        if (start !== model.startOffset) this.checkRetention(topic, model, start);
        model.startMoved(start);
      }
    }
  }

  checkRetention({ config, hasRetention }: TopicModel, model: PartitionModel, start: number): void {
    if (start <= model.askedStart) return;
    demand(hasRetention, () => `${model.where} begins at ${start}, and nobody asked for more than ${model.askedStart}`);
    const { retentionMs, retentionBytes = 0 } = config;
    if (retentionMs === undefined) {
      const left = model.bytesMaxFrom(start);
      demand(left >= retentionBytes, () => `${model.where} begins at ${start}, and no more than ${left} bytes are left`);
      return this.world.note("retention by size removed something");
    }
    this.world.note("retention by time removed something");
    for (const { base, values, timestamps } of model.appends.values()) {
      if (base === undefined || base >= start) continue;
      for (let i = 0; i < values.length && base + i < start; i++) {
        if (base + i < model.askedStart) continue;
        const timestamp = timestamps[i];
        demand(
          timestamp === undefined || timestamp + retentionMs < this.world.now().ms,
          () => `offset ${base + i} of ${model.where} went too early`,
        );
      }
    }
  }

  private async sync(): Promise<void> {
    const topic = this.there();
    if (topic === undefined) return;
    const kept = topic.partitions.map((model) => [model, [...model.appends.values()].filter(({ fate }) => fate === "kept")] as const);
    const { life } = this.world;
    const synced = this.world.node.log.sync(topic.name).then(() => {
      if (life !== this.world.life) return;
      for (const [model, appends] of kept) model.synced(appends);
    });
    const outcome = await this.world.until(synced);
    if (outcome?.error !== undefined) this.ofDisk(`syncing ${topic.name}`, outcome.error);
  }

  ofDisk(what: string, error: unknown): void {
    if (this.world.troubled && ofTheDisk.has(codeOf(error))) return this.world.note(`${what.split(" ")[0]} fails and says so`);
    throw unexpected(what, error);
  }
}
