import type { SyncPolicy, TopicConfig } from "../../src/log/contract/partitionedLog.ts";
import { type Appended, PartitionModel, type Sequenced } from "./partitionModel.ts";

/** Unknown: it was asked for, or its deletion, and a process died before the answer. */
export type Existence = "there" | "unknown" | "gone";

/** How an idempotent producer numbers what it appends to one partition. */
export class ProducerModel {
  epoch = 0;
  nextSequence = 0;
  /** What it has appended in this epoch, in order; sent again until it is kept. */
  history: Appended[] = [];

  constructor(
    readonly name: string,
    /** Undefined: it appends by name, through the portable contract. */
    readonly id: bigint | undefined,
  ) {}

  sequenced(count: number): Sequenced {
    const firstSequence = this.nextSequence;
    this.nextSequence += count;
    return { producer: this.name, epoch: this.epoch, firstSequence };
  }

  nextEpoch(): void {
    this.epoch++;
    this.nextSequence = 0;
    this.history = [];
  }

  /** A start has shown what is there of it, in order. */
  recovered(found: readonly Appended[]): void {
    const last = found.at(-1);
    if (last?.sequenced === undefined) {
      this.nextEpoch();
      return;
    }
    const { epoch, firstSequence } = last.sequenced;
    this.epoch = epoch;
    this.nextSequence = firstSequence + last.values.length;
    this.history = found.filter(({ sequenced }) => sequenced?.epoch === epoch).slice(-8);
  }
}

export class TopicModel {
  existence: Existence = "gone";
  partitions: PartitionModel[] = [];
  producers: ProducerModel[][] = [];

  constructor(
    readonly name: string,
    readonly config: Partial<TopicConfig> & { readonly sync: SyncPolicy; readonly partitions: number },
    /** A stream of the broker's: only messages come in, and its copies are where the broker puts them. */
    readonly isStream: boolean,
  ) {
    this.empty();
  }

  empty(): void {
    const count = Array.from({ length: this.config.partitions }, (_, i) => i);
    this.partitions = count.map((i) => new PartitionModel(`${this.name}-${i}`, this.config.sync));
    this.producers = count.map((i) => [new ProducerModel("named", undefined), new ProducerModel("raw", BigInt(1000 + i))]);
  }

  get hasRetention(): boolean {
    return this.config.retentionBytes !== undefined || this.config.retentionMs !== undefined;
  }
}
