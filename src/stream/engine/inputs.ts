import { MillraceError } from "../../base/errors.ts";
import type { PartitionedLog } from "../../log/contract/partitionedLog.ts";
import type { SourcePosition } from "../checkpoint/checkpoint.ts";
import { PartitionInput, positionLost } from "./partitionInput.ts";
import type { SourceNode } from "./sourceNode.ts";

/**
 * All partitions of all sources of a task. The next record always comes from the partition whose event time is furthest behind, so
 * that late means late in the data and not in the reading.
 */
export class Inputs {
  private constructor(readonly all: readonly PartitionInput[]) {}

  static async open(log: PartitionedLog, sources: readonly SourceNode[], before: readonly SourcePosition[]): Promise<Inputs> {
    const inputs: PartitionInput[] = [];
    for (const source of sources) {
      const description = await log.describeTopic(source.topicName);
      if (description === undefined) throw topicMissing(source.topicName);
      for (const descriptor of description.partitions) {
        const { topic, partition } = descriptor;
        const position = before.find((other) => other.topic === topic && other.partition === partition);
        inputs.push(new PartitionInput(source, await log.openReader(descriptor, { isolation: "read_committed" }), position));
      }
    }
    return new Inputs(inputs);
  }

  /** Reads for every partition that has nothing in hand and something to read; false if all are caught up. */
  async fill(bytesMax: number): Promise<boolean> {
    const hungry = this.all.filter((input) => input.hungry);
    await Promise.all(hungry.map((input) => fillOne(input, bytesMax)));
    return this.all.some((input) => input.hasRecord);
  }

  /**
   * Calls `push` for one record after the other until `budget` (bytes of values) or `recordsMax` is used up, or a partition has to be read
   * before the order is known, or `push` says stop.
   */
  inOrder(push: (input: PartitionInput) => boolean, bytesMax: number, recordsMax: number): void {
    let bytes = 0;
    let records = 0;
    for (;;) {
      const { behind, nextWatermark } = this.furthestBehind();
      if (behind === undefined) return;
      do {
        bytes += behind.cursor.valueBytes;
        const goOn = push(behind);
        if (!goOn || ++records >= recordsMax || bytes >= bytesMax) return;
      } while (behind.hasRecord && behind.watermark < nextWatermark); // equal ones: the first, wherever a read ended
      if (behind.hungry) return;
    }
  }

  /** The minimum over the partitions that are not idle; if all are, nobody holds it back: the maximum. */
  watermark(): number {
    let least = Number.POSITIVE_INFINITY;
    let greatest = Number.NEGATIVE_INFINITY;
    for (const input of this.all) {
      const { watermark } = input;
      if (!input.idle && watermark < least) least = watermark;
      if (watermark > greatest) greatest = watermark;
    }
    return Math.min(least, greatest);
  }

  /** Nothing beyond what is readable now. */
  limitToNow(): void {
    for (const input of this.all) input.limit = Math.min(input.limit, Math.max(input.reader.highWatermark(), input.nextOffset));
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((input) => input.reader.close()));
  }

  private furthestBehind(): { behind: PartitionInput | undefined; nextWatermark: number } {
    let behind: PartitionInput | undefined;
    let nextWatermark = Number.POSITIVE_INFINITY;
    for (const input of this.all) {
      if (!input.hasRecord) continue;
      if (behind === undefined || input.watermark < behind.watermark) {
        if (behind !== undefined) nextWatermark = behind.watermark;
        behind = input;
      } else if (input.watermark < nextWatermark) nextWatermark = input.watermark;
    }
    return { behind, nextWatermark };
  }
}

async function fillOne(input: PartitionInput, bytesMax: number): Promise<void> {
  try {
    await input.fill(bytesMax);
  } catch (error) {
    if (!(error instanceof MillraceError) || error.code !== "OFFSET_OUT_OF_RANGE") throw error;
    throw positionLost(`${input.reader.topic}-${input.reader.partition}, offset ${input.nextOffset}`, input.reader.startOffset(), error);
  }
}

function topicMissing(topic: string): MillraceError {
  return new MillraceError("TOPIC_NOT_FOUND", `The topic '${topic}' does not exist.`, {
    domain: "user",
    where: `topic ${topic}`,
    retryable: true,
    hint: "Declare it as a queue with x-queue-type: stream; the pipeline then begins by itself.",
  });
}
