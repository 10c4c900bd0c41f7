/**
 * A queue of `x-queue-type: stream`: a topic of the log. A record's value is the message's payload; its key, what the partition is
 * chosen by. Its headers:
 *
 *   amqp                 Address.encoded (exchange and routing key as two short strings), then property flags and property list
 *   millrace.message-id  the message-id, UTF-8; only where the topic deduplicates
 *
 * so that the message comes out as it went in, and the window of message-ids can be read back from the topic's end.
 */
import type { Clock } from "../base/clock.ts";
import type { EmbeddedTopic } from "../log/contract/embeddedLog.ts";
import type { Address } from "../record/address.ts";
import type { HeaderValue, Message } from "../record/message.ts";
import { partitionFor } from "../record/partitioner.ts";
import type { Receipt } from "../record/receipt.ts";
import type { NewRecord, RecordHeader } from "../record/record.ts";
import type { QueueOptions } from "./contract.ts";
import { DedupeWindow } from "./dedupeWindow.ts";
import type { TopicSettings } from "./queueSettings.ts";

export const messageIdHeader = "millrace.message-id";
export const amqpHeader = "amqp";
const nothing = (): void => undefined;

export class TopicQueue {
  readonly kind = "topic";
  /** One window a partition; none where the topic doesn't deduplicate. */
  readonly windows: readonly DedupeWindow[];
  published = 0;
  duplicates = 0;
  private readonly partitions: number;
  private nextPartition = 0;

  constructor(
    readonly name: string,
    readonly options: QueueOptions,
    readonly settings: TopicSettings,
    readonly topic: EmbeddedTopic,
    dedupeIdsMax: number,
    private readonly clock: Clock,
  ) {
    const { dedupe } = settings;
    this.partitions = topic.description.config.partitions;
    this.windows =
      dedupe === undefined ? [] : Array.from({ length: this.partitions }, () => new DedupeWindow(dedupe, dedupeIdsMax, nothing));
    // what a failed write took with it must be taken when it is published again
    topic.onCut((partition, offset) => this.windows[partition]?.forgetFrom(offset));
  }

  get dedupes(): boolean {
    return this.windows.length > 0;
  }

  /** What is the same for every message of an address is found once, with its route. */
  target(address: Address): TopicTarget {
    if (this.settings.partitionKey.kind !== "routing-key") return new TopicTarget(this, undefined);
    const key = Buffer.from(address.routingKey);
    return new TopicTarget(this, { key, partition: partitionFor(key, this.partitions) });
  }

  /**
   * Throws what an append would throw: after that nothing is refused any more, within the same turn.
   *
   * @param id the message-id, where the topic deduplicates.
   */
  prepare(message: Message, id: string | undefined, at: Placement | undefined): PreparedAppend {
    const key = at === undefined ? this.keyOf(message) : at.key;
    const partition = at === undefined ? this.partitionOf(key, id) : at.partition;
    const now = this.clock.now();
    const window = id === undefined ? undefined : this.windows[partition];
    if (window?.find(id as string, now) !== undefined) return new PreparedAppend(this, partition, undefined, undefined);
    const headers: RecordHeader[] = [{ key: amqpHeader, value: Buffer.concat([message.address.encoded, message.properties()]) }];
    if (window !== undefined) headers.push({ key: messageIdHeader, value: Buffer.from(id as string) });
    const record = { key, value: message.body(), headers, timestamp: now };
    this.topic.checkTakes(partition, record);
    return new PreparedAppend(this, partition, record, window === undefined ? undefined : id);
  }

  /** @param record undefined: the topic has it already. */
  commit(partition: number, record: NewRecord | undefined, id: string | undefined, receipt: Receipt | undefined): void {
    if (record === undefined) {
      this.duplicates++;
      if (receipt !== undefined) this.topic.joinPending(partition, receipt);
      return;
    }
    const offset = this.topic.append(partition, record, receipt);
    if (id !== undefined) this.windows[partition]?.remember(id, offset, record.timestamp);
    this.published++;
  }

  private keyOf(message: Message): Buffer | null {
    const { partitionKey } = this.settings;
    if (partitionKey.kind === "message-id") return bytesOf(message.messageId());
    if (partitionKey.kind === "header") return bytesOf(message.headers()?.[partitionKey.name]);
    return null;
  }

  private partitionOf(key: Buffer | null, id: string | undefined): number {
    const { partitions } = this;
    if (key !== null) return partitionFor(key, partitions);
    // the same message again has to come to the same window
    if (id !== undefined) return partitionFor(Buffer.from(id), partitions);
    if (this.nextPartition >= partitions) this.nextPartition = 0;
    return this.nextPartition++;
  }
}

interface Placement {
  readonly key: Buffer;
  readonly partition: number;
}

/** A topic as a destination of one route. */
export class TopicTarget {
  constructor(
    readonly queue: TopicQueue,
    /** undefined: each message has its own. */
    private readonly placement: Placement | undefined,
  ) {}

  prepare(message: Message, id: string | undefined): PreparedAppend {
    return this.queue.prepare(message, id, this.placement);
  }
}

/** What a topic will take, once all the message's destinations have said that they do. */
export class PreparedAppend {
  constructor(
    private readonly queue: TopicQueue,
    private readonly partition: number,
    private readonly record: NewRecord | undefined,
    /** To be remembered. */
    private readonly id: string | undefined,
  ) {}

  commit(receipt: Receipt | undefined): void {
    this.queue.commit(this.partition, this.record, this.id, receipt);
  }
}

/** Only what has one obvious form as bytes is a key; a table or a date is none. */
function bytesOf(value: HeaderValue | undefined): Buffer | null {
  if (typeof value === "string") return Buffer.from(value);
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return Buffer.from(String(value));
  if (value instanceof Uint8Array) return Buffer.from(value);
  return null;
}
