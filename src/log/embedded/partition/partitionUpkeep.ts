import type { Compaction } from "../compaction/compaction.ts";
import { mendSnapshot, sayDamagedTo } from "../producers/producerLoad.ts";
import { indexesFit, rebuildIndexes } from "../segment/indexCheck.ts";
import { abortedIndexesOf, baseOffsetsOf } from "../segment/names.ts";
import { removeSegmentFiles } from "../segment/segmentFiles.ts";
import { loadAbortedIndex } from "../transactions/abortedIndex.ts";
import { endOfSegment, mendAbortedIndex } from "../transactions/abortedRecovery.ts";
import type { LogPosition } from "./partitionState.ts";
import type { PartitionOptions, PartitionSurroundings } from "./partitionSurroundings.ts";
import { planRetention } from "./retention.ts";

/** The partition as its upkeep sees it: what is not written any more is the upkeep's, the segment that is being written is not. */
export interface KeptPartition {
  readonly where: string;
  /** Where readers may go; in the segment that is being written. */
  readonly published: LogPosition;
  readonly startOffset: number;
  /** What is below is not kept any more: durable, and known to the readers, when it resolves. */
  startFrom(offset: number): Promise<void>;
  /** Begins the next segment; false if there was no need, or somebody else does it. */
  roll(): Promise<boolean>;
  /** Did a reader meet a damaged index since this was asked last? */
  takeIndexDamage(): boolean;
}

/** What a partition needs now and then, in the background: old segments go, and damaged indexes are made again. One call at a time. */
export class PartitionUpkeep {
  /** What retention saw last, and when it has to look again although nothing changed: an idle partition's folder is left alone. */
  private retainedBase = -1;
  private retainedStart = -1;
  private retainAgainAt = 0;
  private indexesChecked = false;

  constructor(
    private readonly surroundings: PartitionSurroundings,
    private readonly options: PartitionOptions,
    private readonly partition: KeptPartition,
    private readonly compaction: Compaction,
  ) {}

  /** What makes room may use the reserve of the disk. */
  async makeRoom(): Promise<void> {
    await this.compaction.complete();
    await this.retain();
  }

  async run(): Promise<void> {
    await this.makeRoom();
    // what follows writes more than it frees at first
    if (!(await this.surroundings.space.hasRoom())) return;
    if (this.partition.takeIndexDamage()) this.indexesChecked = false;
    if (!this.indexesChecked) await this.checkIndexes();
    this.indexesChecked = true;
    await this.compaction.run();
  }

  async deleteBelow(offset: number): Promise<void> {
    await this.compaction.complete();
    if (offset > this.partition.startOffset) await this.partition.startFrom(offset);
    await this.retain();
  }

  private async retain(): Promise<void> {
    const { partition, surroundings, options } = this;
    const { published, startOffset } = partition;
    const now = surroundings.clock.now();
    const nothingNew = published.baseOffset === this.retainedBase && startOffset === this.retainedStart;
    if (nothingNew && now < this.retainAgainAt) return;
    const { handles, fileSystem } = surroundings;
    const plan = await handles.briefly(() => planRetention(fileSystem, options.folder, options.config, published, startOffset, now));
    if (plan.keepFrom > startOffset) await partition.startFrom(plan.keepFrom);
    if (plan.remove.length > 0) await this.remove(plan.remove, published.baseOffset);
    this.retainedBase = published.baseOffset;
    this.retainedStart = partition.startOffset;
    this.retainAgainAt = plan.againAt;
    if (plan.rollActive && (await partition.roll())) await this.retain();
  }

  private async remove(segments: readonly number[], writtenBase: number): Promise<void> {
    const { fileSystem, handles, logger, clock } = this.surroundings;
    const { folder } = this.options;
    if (await handles.briefly(() => mendSnapshot(fileSystem, folder, writtenBase, clock.now(), sayDamagedTo(logger)))) {
      logger.warn("made a snapshot of the producers again", { folder, offset: writtenBase });
    }
    for (const base of segments) await removeSegmentFiles(fileSystem, folder, base);
    await fileSystem.syncDirectory(folder);
    const { where, startOffset } = this.partition;
    logger.info("removed old segments", { partition: where, segments: segments.length, startOffset });
  }

  /** Of the segments that are not written any more: once, and when a reader says so, as only something from outside can spoil them. */
  private async checkIndexes(): Promise<void> {
    const { fileSystem, logger, clock } = this.surroundings;
    const { folder } = this.options;
    const { partition } = this;
    const names = await fileSystem.list(folder);
    const indexed = new Set(abortedIndexesOf(names));
    const writtenBase = partition.published.baseOffset;
    if (indexed.has(writtenBase) && (await loadAbortedIndex(fileSystem, folder, writtenBase)).damage !== undefined) {
      await partition.roll(); // its writer must not find another file in its place
    }
    for (const base of baseOffsetsOf(names)) {
      if (base >= partition.published.baseOffset) continue;
      if (indexed.has(base)) await mendAbortedIndex(fileSystem, folder, await endOfSegment(fileSystem, folder, base), clock.now(), logger);
      if (await indexesFit(fileSystem, folder, base)) continue;
      logger.warn("rebuilding the indexes of a segment", { folder, baseOffset: base });
      await rebuildIndexes(fileSystem, folder, base);
    }
  }
}
