import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../../src/base/random.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import type { TopicConfig } from "../../src/log/contract/partitionedLog.ts";
import { encodeBatch, records } from "../../src/record/batch.ts";
import { Receipt } from "../../src/record/receipt.ts";
import type { NewRecord } from "../../src/record/record.ts";
import { contentOf, type Found, type Said } from "./messages.ts";

const kept = { segmentBytes: 16 * 1024 } as const;
const shortLived = { segmentBytes: 4 * 1024, retentionBytes: 12 * 1024 } as const;
const topics: Readonly<Record<string, Partial<TopicConfig>>> = {
  always: { ...kept, partitions: 2, sync: { kind: "always" } },
  raw: { ...shortLived, sync: { kind: "always" } },
  interval: { ...shortLived, sync: { kind: "interval", ms: 5 } },
  never: { ...shortLived, sync: { kind: "never" } },
};
const producer = { name: "idempotent", epoch: 0 };
const batchRecords = 10;

/** The record at an offset is always the same, so that whoever reads it knows whether it belongs there. */
const recordAt = (offset: number): NewRecord => ({ key: null, value: contentOf(offset), headers: [], timestamp: offset });
const recordsAt = (offset: number, count: number): NewRecord[] => Array.from({ length: count }, (_, n) => recordAt(offset + n));
const nothing = Buffer.alloc(0);
const refusedRecord: NewRecord = { key: null, value: Buffer.from("refused"), headers: [], timestamp: 0 };

/** Appends to topics of every policy, one by one, as an idempotent producer and in a producer's own batches; rolls, and lets go. */
export class LogLoad {
  constructor(
    private readonly log: EmbeddedLog,
    private readonly random: Random,
    private readonly say: (said: Said) => void,
  ) {}

  /** Reads everything: each offset must hold its record, without a gap. */
  async found(): Promise<Found["partitions"]> {
    const found: Record<string, { start: number; end: number }> = {};
    for (const [name, config] of Object.entries(topics)) {
      const { partitions } = await this.log.createTopic(name, config);
      for (const descriptor of partitions) {
        const reader = await this.log.openReader(descriptor);
        const start = reader.startOffset();
        let next = start;
        while (next < reader.highWatermark()) {
          const bytes = await reader.read(next, 1 << 20);
          if (bytes.length === 0) throw new Error(`${name}-${descriptor.partition}: nothing at ${next}, below the high watermark`);
          for (const { offset, value, timestamp } of records(bytes)) {
            if (offset < next) continue;
            if (offset !== next || timestamp !== offset || !contentOf(offset).equals(value ?? nothing))
              throw new Error(`${name}-${descriptor.partition}: ${next} is expected, and there is ${offset}: ${value}`);
            next++;
          }
        }
        await reader.close();
        found[`${name}/${descriptor.partition}`] = { start, end: next };
      }
    }
    return found;
  }

  async run(): Promise<void> {
    await Promise.all([
      this.oneByOne("always", 0),
      this.asIdempotentProducer("always", 1),
      this.rawBatches("raw"),
      this.oneByOne("interval", 0),
      this.oneByOne("never", 0),
      this.maintain(),
    ]);
  }

  private async oneByOne(name: string, partition: number): Promise<void> {
    const topic = this.topic(name);
    for (;;) {
      await settled((receipt) => {
        for (let count = 1 + this.random.below(30); count > 0; count--)
          topic.append(partition, recordAt(topic.endOffset(partition)), receipt);
        if (this.random.below(5) === 0)
          mustThrow(() => topic.append(partition, { ...refusedRecord, value: Buffer.alloc(2 << 20) }, receipt));
      });
      this.say({ kind: "appended", partition: `${name}/${partition}`, end: topic.highWatermark(partition) });
      await this.pause();
    }
  }

  private async asIdempotentProducer(name: string, partition: number): Promise<void> {
    const topic = this.topic(name);
    let next = topic.endOffset(partition);
    const state = await this.log.producerState(producer.name, name, partition);
    if ((state?.nextSequence ?? 0) !== next)
      throw new Error(`${name}-${partition} ends at ${next}, its producer at ${state?.nextSequence}`);
    for (;;) {
      const batch = recordsAt(next, 1 + this.random.below(8));
      const append = (): Promise<void> => this.log.append(producer, name, partition, next, batch);
      // impatient: it sends the same batch again
      await Promise.all(this.random.below(3) === 0 ? [append(), append()] : [append()]);
      await mustReject(this.log.append(producer, name, partition, next + 1000, [refusedRecord]));
      next += batch.length;
      this.say({ kind: "appended", partition: `${name}/${partition}`, end: next });
      await this.pause();
    }
  }

  private async rawBatches(name: string): Promise<void> {
    const topic = this.topic(name);
    const encoded = (of: readonly NewRecord[], baseSequence: number): Buffer =>
      encodeBatch(of, { producerId: 7n, producerEpoch: 0, baseSequence });
    let next = topic.endOffset(0);
    if (next > 0) {
      // a producer that does not know whether its last batch arrived
      const again = await topic.appendBatch(0, encoded(recordsAt(next - batchRecords, batchRecords), next - batchRecords));
      if (!again.duplicate || again.baseOffset !== next - batchRecords) throw new Error(`the batch before ${next} is not known any more`);
    }
    for (;;) {
      await topic.appendBatch(0, encoded(recordsAt(next, batchRecords), next));
      next += batchRecords;
      this.say({ kind: "appended", partition: `${name}/0`, end: next });
      await mustReject(topic.appendBatch(0, encoded([refusedRecord], next + 1)));
      const broken = encoded([refusedRecord], next);
      broken[broken.length - 1] = (broken[broken.length - 1] as number) ^ 1;
      await mustReject(topic.appendBatch(0, broken));
      await this.pause();
    }
  }

  private async maintain(): Promise<void> {
    for (;;) {
      await this.log.maintain();
      await sleep(10);
    }
  }

  /** Else the log grows by so much that reading it after every start takes most of the time. */
  private async pause(): Promise<void> {
    if (this.random.below(4) === 0) await sleep(this.random.below(4));
  }

  private topic(name: string): EmbeddedTopic {
    const topic = this.log.topic(name);
    if (topic === undefined) throw new Error(`there is no topic ${name}`);
    return topic;
  }
}

export function settled(join: (receipt: Receipt) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const receipt = new Receipt((failure) => (failure === undefined ? resolve() : reject(failure)));
    join(receipt);
    receipt.seal();
  });
}

export function mustThrow(refused: () => unknown): void {
  try {
    refused();
  } catch {
    return;
  }
  throw new Error(`was not refused: ${refused}`);
}

const mustReject = (refused: Promise<unknown>): Promise<void> =>
  refused.then(
    () => {
      throw new Error("was not refused");
    },
    () => undefined,
  );
