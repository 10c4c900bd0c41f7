import { MillraceError } from "../../base/errors.ts";
import { lowerBound } from "../../base/lowerBound.ts";
import {
  type PartitionDescriptor,
  type PartitionedLog,
  type PartitionReader,
  type ProducerIdentity,
  type TopicConfig,
  type TopicDescription,
  topicConfigDefaults,
} from "../../log/contract/partitionedLog.ts";
import { encodeBatch, records } from "../../record/batch.ts";
import type { NewRecord } from "../../record/record.ts";

const defaults: TopicConfig = { ...topicConfigDefaults, sync: { kind: "never" } };
/** As Kafka: so many of a producer's last batches are recognised when they come again. */
const REMEMBERED_BATCHES = 5;

/** A partitioned log in memory, for tests of pipelines: the contract's semantics without a disk. */
export class MemoryLog implements PartitionedLog {
  private readonly topics = new Map<string, MemoryTopic>();

  async createTopic(name: string, config: Partial<TopicConfig> = {}): Promise<TopicDescription> {
    let topic = this.topics.get(name);
    if (topic === undefined) {
      topic = new MemoryTopic(name, { ...defaults, ...config });
      this.topics.set(name, topic);
    }
    for (const [key, wanted] of Object.entries(config)) {
      const is = topic.config[key as keyof TopicConfig];
      if (JSON.stringify(is) === JSON.stringify(wanted)) continue;
      throw logError("TOPIC_EXISTS", `The topic '${name}' exists: ${key} is ${JSON.stringify(is)}, not ${JSON.stringify(wanted)}.`);
    }
    return topic.describe();
  }

  async describeTopic(name: string): Promise<TopicDescription | undefined> {
    return this.topics.get(name)?.describe();
  }

  /** It has no transactions, so that every isolation sees the same. */
  async openReader(descriptor: PartitionDescriptor): Promise<PartitionReader> {
    return new MemoryReader(descriptor, this.partition(descriptor.topic, descriptor.partition));
  }

  async append(
    producer: ProducerIdentity,
    topic: string,
    partition: number,
    sequence: number,
    records: readonly NewRecord[],
  ): Promise<void> {
    const to = this.partition(topic, partition);
    if (to.alreadyHas(producer, sequence, records.length)) return;
    const batch = encodeBatch(records, { baseOffset: to.endOffset });
    const { maxMessageBytes } = this.topic(topic).config;
    if (batch.length > maxMessageBytes) {
      throw logError("RECORD_TOO_LARGE", `A batch of ${batch.length} bytes is too large for '${topic}' (${maxMessageBytes}).`);
    }
    to.keep(producer, sequence, batch, records.length);
  }

  async producerState(name: string, topic: string, partition: number): Promise<{ epoch: number; nextSequence: number } | undefined> {
    const state = this.partition(topic, partition).producers.get(name);
    return state === undefined ? undefined : { epoch: state.epoch, nextSequence: state.nextSequence };
  }

  async sync(topic: string): Promise<void> {
    this.topic(topic);
  }

  private topic(name: string): MemoryTopic {
    const topic = this.topics.get(name);
    if (topic === undefined) throw logError("UNKNOWN_TOPIC", `There is no topic '${name}'.`);
    return topic;
  }

  private partition(topic: string, partition: number): MemoryPartition {
    const found = this.topic(topic).partitions[partition];
    if (found === undefined) throw logError("UNKNOWN_PARTITION", `The topic '${topic}' has no partition ${partition}.`);
    return found;
  }
}

class MemoryTopic {
  readonly partitions: readonly MemoryPartition[];

  constructor(
    private readonly name: string,
    readonly config: TopicConfig,
  ) {
    this.partitions = Array.from({ length: config.partitions }, () => new MemoryPartition());
  }

  describe(): TopicDescription {
    const { name, config } = this;
    return { name, config, partitions: this.partitions.map((_, partition) => ({ topic: name, partition, access: null })) };
  }
}

interface KeptBatch {
  readonly endOffset: number;
  readonly bytes: Buffer;
}

interface ProducerState {
  epoch: number;
  nextSequence: number;
  recent: { readonly sequence: number; readonly count: number }[];
}

class MemoryPartition {
  readonly batches: KeptBatch[] = [];
  readonly producers = new Map<string, ProducerState>();
  readonly waiting = new Set<() => void>();
  endOffset = 0;

  alreadyHas({ name, epoch }: ProducerIdentity, sequence: number, count: number): boolean {
    const state = this.producers.get(name);
    if (state !== undefined && epoch < state.epoch) throw logError("PRODUCER_FENCED", `'${name}' has a later epoch than ${epoch}.`);
    const current = state?.epoch === epoch ? state : undefined;
    if (current?.recent.some((batch) => batch.sequence === sequence && batch.count === count) === true) return true;
    const expected = current?.nextSequence ?? 0;
    if (sequence !== expected) throw logError("OUT_OF_ORDER_SEQUENCE", `'${name}' sent ${sequence}; ${expected} comes next.`);
    return false;
  }

  keep({ name, epoch }: ProducerIdentity, sequence: number, bytes: Buffer, count: number): void {
    let state = this.producers.get(name);
    if (state === undefined || state.epoch !== epoch) {
      state = { epoch, nextSequence: 0, recent: [] };
      this.producers.set(name, state);
    }
    state.nextSequence = sequence + count;
    state.recent = [...state.recent, { sequence, count }].slice(-REMEMBERED_BATCHES);
    this.endOffset += count;
    this.batches.push({ endOffset: this.endOffset, bytes });
    for (const wake of this.waiting) wake();
  }
}

class MemoryReader implements PartitionReader {
  readonly topic: string;
  readonly partition: number;

  constructor(
    descriptor: PartitionDescriptor,
    private readonly from: MemoryPartition,
  ) {
    this.topic = descriptor.topic;
    this.partition = descriptor.partition;
  }

  startOffset(): number {
    return 0;
  }

  highWatermark(): number {
    return this.from.endOffset;
  }

  async read(offset: number, bytesMax: number): Promise<Buffer> {
    const { batches, endOffset } = this.from;
    if (offset < 0 || offset > endOffset) throw logError("OFFSET_OUT_OF_RANGE", `${offset} is not within 0 to ${endOffset}.`);
    const found: Buffer[] = [];
    let bytes = 0;
    for (let at = firstAbove(batches, offset); at < batches.length && (found.length === 0 || bytes < bytesMax); at++) {
      const batch = batches[at] as KeptBatch;
      found.push(batch.bytes);
      bytes += batch.bytes.length;
    }
    return Buffer.concat(found);
  }

  untilAbove(offset: number, signal: AbortSignal): Promise<void> {
    const { from } = this;
    return new Promise((resolve) => {
      const look = (): void => {
        if (from.endOffset <= offset && !signal.aborted) return;
        from.waiting.delete(look);
        signal.removeEventListener("abort", look);
        resolve();
      };
      from.waiting.add(look);
      signal.addEventListener("abort", look);
      look();
    });
  }

  async offsetForTimestamp(timestamp: number): Promise<{ offset: number; timestamp: number } | undefined> {
    for (const { bytes } of this.from.batches) {
      for (const record of records(bytes)) {
        if (record.timestamp >= timestamp) return { offset: record.offset, timestamp: record.timestamp };
      }
    }
    return undefined;
  }

  async close(): Promise<void> {
    // nothing is held
  }
}

/** The first batch that ends above the offset. */
const firstAbove = (batches: readonly KeptBatch[], offset: number): number =>
  lowerBound(0, batches.length, (at) => (batches[at] as KeptBatch).endOffset > offset);

function logError(code: string, what: string): MillraceError {
  return new MillraceError(code, what, { domain: "user" });
}
