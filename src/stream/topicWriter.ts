/**
 * Rows as records of a topic, exactly once. They wait in memory for the checkpoint (at most `BUFFER_BYTES_MAX`, then it is taken at
 * once), which carries them: a handle is one batch with its producer's epoch and first sequence. Committing it is appending it; the log
 * knows what it has by the sequence.
 *
 * A record's key is what its row was keyed by, and gives the partition; rows without a key stay in the order of the partition that
 * they came from (its number modulo the topic's partitions).
 */
import { MillraceError } from "../base/errors.ts";
import type { Json } from "../log/contract/keyedStore.ts";
import type { PartitionedLog, ProducerIdentity } from "../log/contract/partitionedLog.ts";
import { partitionFor } from "../record/partitioner.ts";
import type { NewRecord } from "../record/record.ts";
import type { RowSchema } from "./contract/columns.ts";
import type { Handle, RowPlace, SinkContext, SinkWriter } from "./contract/sink.ts";

const BUFFER_BYTES_MAX = 8 * 1024 * 1024;
const BATCH_BYTES_MAX = 512 * 1024;
/** Rows and dead letters need no key, so a topic that a pipeline makes is not compacted, whatever the node's default is. */
const written = { cleanupPolicy: "delete" } as const;
/** Below the log's default for a batch (1 MiB), with room for the batch's own header. */
export const RECORD_BYTES_MAX = 1_000_000;

type RecordJson = readonly [
  key: string | null,
  value: string | null,
  timestamp: number,
  headers: readonly (readonly [string, string | null])[],
];

type BatchHandle = {
  readonly kind: "topic-batch";
  readonly topic: string;
  readonly partition: number;
  readonly epoch: number;
  readonly sequence: number;
  readonly records: readonly RecordJson[];
};

type Resume = {
  readonly epoch: number;
  /** By partition. */
  readonly nextSequences: readonly number[];
};

interface Waiting {
  readonly record: NewRecord;
  readonly sourcePartition: number;
  readonly bytes: number;
}

export class TopicWriter implements SinkWriter {
  private waiting: Waiting[] = [];
  private waitingBytes = 0;
  /** Batches of this run, which need not be read back from their handle. */
  private readonly fresh = new WeakMap<Handle, readonly NewRecord[]>();

  private constructor(
    private readonly log: PartitionedLog,
    private readonly topic: string,
    private readonly producerName: string,
    private readonly encode: (row: unknown) => string,
    private resume: Resume | undefined,
  ) {}

  static async open(context: SinkContext, topic: string, encode: (row: unknown) => string): Promise<TopicWriter> {
    const producer = `pipeline:${context.pipeline}:${context.id}`;
    return new TopicWriter(context.log, topic, producer, encode, (context.resume ?? undefined) as Resume | undefined);
  }

  write(row: unknown, _columns: RowSchema, place: RowPlace): void {
    let text: string;
    try {
      text = this.encode(row);
    } catch (error) {
      throw refused(`The row can't be written as JSON: ${error instanceof Error ? error.message : String(error)}`);
    }
    const value = Buffer.from(text);
    const key = place.key === undefined ? null : Buffer.from(place.key);
    const bytes = value.length + (key?.length ?? 0);
    if (bytes > RECORD_BYTES_MAX) throw refused(`The row takes ${bytes} bytes as JSON; a record takes at most ${RECORD_BYTES_MAX}`);
    this.writeRecord({ key, value, headers: [], timestamp: place.timestamp }, place.partition);
  }

  writeRecord(record: NewRecord, sourcePartition: number): void {
    const headerBytes = record.headers.reduce((sum, header) => sum + header.key.length * 3 + (header.value?.length ?? 0), 0);
    const bytes = (record.key?.length ?? 0) + (record.value?.length ?? 0) + headerBytes + 32;
    this.waiting.push({ record, sourcePartition, bytes });
    this.waitingBytes += bytes;
  }

  async drained(): Promise<void> {
    // what waits is bounded by checkpointWanted
  }

  checkpointWanted(): boolean {
    return this.waitingBytes >= BUFFER_BYTES_MAX;
  }

  async snapshot(): Promise<{ pending: readonly Handle[]; resume: Json }> {
    if (this.waiting.length === 0) return { pending: [], resume: this.resume ?? null };
    const { partitions } = (await this.log.describeTopic(this.topic)) ?? (await this.log.createTopic(this.topic, written));
    const epoch = this.resume?.epoch ?? (await this.freshEpoch(partitions.length));
    const nextSequences = partitions.map((_, partition) => this.resume?.nextSequences[partition] ?? 0);
    const pending: Handle[] = [];
    for (const [partition, records] of this.byPartition(partitions.length)) {
      for (const batch of cut(records)) {
        const sequence = nextSequences[partition] as number;
        const handle: BatchHandle = { kind: "topic-batch", topic: this.topic, partition, epoch, sequence, records: batch.map(toJson) };
        this.fresh.set(handle, batch);
        pending.push(handle);
        nextSequences[partition] = sequence + batch.length;
      }
    }
    this.waiting = [];
    this.waitingBytes = 0;
    this.resume = { epoch, nextSequences };
    return { pending, resume: this.resume };
  }

  async commit(handle: Handle): Promise<void> {
    const { topic, partition, epoch, sequence, records } = handle as BatchHandle;
    const producer: ProducerIdentity = { name: this.producerName, epoch };
    const fresh = this.fresh.get(handle);
    if (fresh === undefined) {
      // from before a crash: the log recognises only a producer's last few batches, so ask how far it came
      if ((await this.log.describeTopic(topic)) === undefined) await this.log.createTopic(topic, written);
      const state = await this.log.producerState(this.producerName, topic, partition);
      if (state !== undefined && state.epoch === epoch && state.nextSequence >= sequence + records.length) return;
    }
    await this.log.append(producer, topic, partition, sequence, fresh ?? records.map(fromJson));
  }

  async committed(): Promise<void> {
    // an append is durable when it resolves
  }

  async close(): Promise<void> {
    this.waiting = [];
    this.waitingBytes = 0;
  }

  /** Without a checkpoint nothing is known of an earlier life: a higher epoch begins its sequences at 0 again. */
  private async freshEpoch(partitions: number): Promise<number> {
    let last = -1;
    for (let partition = 0; partition < partitions; partition++) {
      const state = await this.log.producerState(this.producerName, this.topic, partition);
      if (state !== undefined && state.epoch > last) last = state.epoch;
    }
    return last + 1;
  }

  private byPartition(partitions: number): Map<number, Waiting[]> {
    const sorted = new Map<number, Waiting[]>();
    for (const waiting of this.waiting) {
      const { key } = waiting.record;
      const partition = key === null ? waiting.sourcePartition % partitions : partitionFor(key, partitions);
      const of = sorted.get(partition);
      if (of === undefined) sorted.set(partition, [waiting]);
      else of.push(waiting);
    }
    return sorted;
  }
}

function* cut(waiting: readonly Waiting[]): Generator<readonly NewRecord[]> {
  let batch: NewRecord[] = [];
  let bytes = 0;
  for (const next of waiting) {
    if (batch.length > 0 && bytes + next.bytes > BATCH_BYTES_MAX) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(next.record);
    bytes += next.bytes;
  }
  yield batch;
}

const base64 = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
const fromBase64 = (text: string | null): Buffer | null => (text === null ? null : Buffer.from(text, "base64"));

const toJson = (record: NewRecord): RecordJson => [
  base64(record.key),
  base64(record.value),
  record.timestamp,
  record.headers.map(({ key, value }) => [key, base64(value)] as const),
];

const fromJson = ([key, value, timestamp, headers]: RecordJson): NewRecord => ({
  key: fromBase64(key),
  value: fromBase64(value),
  timestamp,
  headers: headers.map(([name, text]) => ({ key: name, value: fromBase64(text) })),
});

function refused(what: string): MillraceError {
  return new MillraceError("ROW_REFUSED", `${what}.`, { domain: "user" });
}
