import { MillraceError } from "../../base/errors.ts";
import type { Receipt } from "../../record/receipt.ts";
import type { NewRecord } from "../../record/record.ts";
import type { AbortedTransaction, AppendedBatch, EmbeddedTopic, OpenTransaction, TransactionEnd } from "../contract/embeddedLog.ts";
import type { TopicConfig, TopicDescription } from "../contract/partitionedLog.ts";
import { compacts } from "./compaction/recordKeys.ts";
import type { Partition } from "./partition/partition.ts";
import type { PartitionAccess } from "./reading/partitionReader.ts";

export type CutListeners = ((partition: number, offset: number) => void)[];

export class Topic implements EmbeddedTopic {
  readonly description: TopicDescription;

  /**
   * @param folders of the partitions, in their order.
   * @param cut told when a partition is cut back.
   */
  constructor(
    name: string,
    config: TopicConfig,
    readonly folders: readonly string[],
    readonly partitions: readonly Partition[],
    private readonly cut: CutListeners,
  ) {
    const compacted = compacts(config);
    this.description = {
      name,
      config,
      partitions: partitions.map(({ shared }, partition) => {
        const access: PartitionAccess = { kind: "embedded", folder: folders[partition] as string, watermark: shared, compacted };
        return { topic: name, partition, access };
      }),
    };
  }

  append(partition: number, record: NewRecord, receipt: Receipt | undefined): number {
    return this.partition(partition).append(record, receipt);
  }

  appendBatch(partition: number, batch: Buffer): Promise<AppendedBatch> {
    return this.partition(partition).appends.appendBatch(batch);
  }

  endTransaction(partition: number, end: TransactionEnd): Promise<number> {
    return this.partition(partition).appends.endTransaction(end);
  }

  lastStableOffset(partition: number): number {
    return this.partition(partition).lastStableOffset;
  }

  abortedTransactions(partition: number, fromOffset: number, toOffset: number): Promise<readonly AbortedTransaction[]> {
    return this.partition(partition).abortedTransactions(fromOffset, toOffset);
  }

  openTransactions(partition: number): Promise<readonly OpenTransaction[]> {
    return this.partition(partition).appends.openTransactions();
  }

  joinPending(partition: number, receipt: Receipt): void {
    this.partition(partition).joinPending(receipt);
  }

  endOffset(partition: number): number {
    return this.partition(partition).endOffset;
  }

  highWatermark(partition: number): number {
    return this.partition(partition).highWatermark;
  }

  startOffset(partition: number): number {
    return this.partition(partition).startOffset;
  }

  onCut(listener: (partition: number, offset: number) => void): void {
    this.cut.push(listener);
  }

  partition(partition: number): Partition {
    const found = this.partitions[partition];
    if (found !== undefined) return found;
    const { name } = this.description;
    throw new MillraceError("UNKNOWN_PARTITION", `Topic "${name}" has ${this.partitions.length} partitions, no number ${partition}.`, {
      domain: "user",
      where: name,
    });
  }
}
