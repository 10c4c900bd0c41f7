import type { RecordHeader } from "../../record/record.ts";
import type { Skip } from "../checkpoint/checkpoint.ts";
import { RECORD_BYTES_MAX, type TopicWriter } from "../topicWriter.ts";
import type { DeadLetters, Graph } from "./graph.ts";
import type { PartitionInput } from "./partitionInput.ts";

/** What a person needs to find the record again and to know why it is here; headers of the records in `<pipeline>.dead`. */
export const DeadHeader = {
  reason: "reason",
  message: "message",
  operator: "operator",
  topic: "topic",
  partition: "partition",
  offset: "offset",
  /** The value was too large to be kept a second time. */
  valueDropped: "value-dropped",
} as const;

const MESSAGE_CHARS_MAX = 4000;
const LOGGED_CHARS_MAX = 300;
/** Headers and key of a record that is at the limit already must fit beside its value. */
const HEADROOM_BYTES = 32_768;

/** Records and rows that can't be processed, on their way to the pipeline's dead topic with the next checkpoint. */
export class DeadLetterBox implements DeadLetters {
  count = 0;

  constructor(
    private readonly graph: Graph,
    private readonly writer: TopicWriter,
  ) {}

  /** A source record as it came: key, value and timestamp. */
  record(input: PartitionInput, problem: Omit<Skip, "place">): void {
    const { cursor } = input;
    const key = cursor.key();
    const value = cursor.value();
    // copies: what the cursor gives are views of a whole batch
    this.write(key && Buffer.from(key), value && Buffer.from(value), cursor.timestamp, problem);
  }

  /** A row that the engine or a function made, as JSON. */
  row(row: unknown, reason: string, message: string, operator: string): void {
    const { context } = this.graph;
    const key = context.key === undefined ? null : Buffer.from(context.key);
    this.write(key, Buffer.from(rowText(row)), context.timestamp, { reason, message, operator });
  }

  private write(key: Buffer | null, value: Buffer | null, timestamp: number, problem: Omit<Skip, "place">): void {
    const { context } = this.graph;
    const headers = [
      header(DeadHeader.reason, problem.reason),
      header(DeadHeader.message, problem.message.slice(0, MESSAGE_CHARS_MAX)),
      header(DeadHeader.operator, problem.operator),
      header(DeadHeader.topic, context.topic),
      header(DeadHeader.partition, String(context.partition)),
      header(DeadHeader.offset, String(context.offset)),
    ];
    let kept = value;
    if ((value?.length ?? 0) + (key?.length ?? 0) > RECORD_BYTES_MAX - HEADROOM_BYTES) {
      headers.push(header(DeadHeader.valueDropped, "too large"));
      kept = null;
    }
    const keptKey = key !== null && key.length > RECORD_BYTES_MAX - HEADROOM_BYTES ? null : key;
    this.writer.writeRecord({ key: keptKey, value: kept, headers, timestamp }, context.partition);
    this.count++;
    if (isPowerOfTen(this.count)) this.say(problem);
  }

  /** The first one, the tenth, the hundredth, ...: a topic full of them does not fill the log. */
  private say({ reason, message, operator }: Omit<Skip, "place">): void {
    const { logger, context } = this.graph;
    logger.warn("A record went to the dead topic", {
      dead: this.count,
      reason,
      operator,
      record: `${context.topic}-${context.partition}@${context.offset}`,
      error: message.slice(0, LOGGED_CHARS_MAX),
    });
  }
}

const isPowerOfTen = (count: number): boolean => Number.isInteger(Math.log10(count));

const header = (key: string, text: string): RecordHeader => ({ key, value: Buffer.from(text) });

/** For people to read: bigints as digits; what can't be shown says so. */
function rowText(row: unknown): string {
  try {
    return JSON.stringify(row, (_, value) => (typeof value === "bigint" ? value.toString() : value)) ?? "null";
  } catch (error) {
    return JSON.stringify({ unreadable: error instanceof Error ? error.message : String(error) });
  }
}
