import type { PartitionFiles } from "../partition/partitionFiles.ts";
import type { LogPosition } from "../partition/partitionState.ts";
import type { PartitionOptions, PartitionSurroundings } from "../partition/partitionSurroundings.ts";
import { durableProducers, sayDamagedTo } from "../producers/producerLoad.ts";
import { removeSnapshotsBelow } from "../producers/snapshotFile.ts";
import { removeCleanedFiles } from "./cleanedSegment.ts";
import { type CompactionSurroundings, cleanSegments } from "./compactionPass.ts";
import { groupsOf, planCompaction, type RolledSegment } from "./compactionPlan.ts";
import { type AbortedIn, KEY_MEMORY_BYTES_MAX, readDirtyKeys } from "./dirtyKeys.ts";
import { compacts } from "./recordKeys.ts";
import { type ReplacementListener, replaceSegments } from "./segmentReplacement.ts";
import { isStop, Slices } from "./slices.ts";

/** So that nobody else's disk is busy with it. */
const COMPACTION_BYTES_PER_SECOND_MAX = 128 * 1024 * 1024;

/** The partition as compaction sees it. */
export interface CompactedPartition extends ReplacementListener {
  readonly where: string;
  readonly published: LogPosition;
  readonly files: PartitionFiles;
  /** Compaction stops at once, and begins again another time. */
  readonly isLeaving: boolean;
  /** Below it every transaction is ended. */
  readonly lastStableOffset: number;
  abortedTransactions: AbortedIn;
  /** Resolves when everything that was appended so far is on the disk. */
  sync(): Promise<void>;
}

/** Compacts a partition when enough of it is dirty. One call at a time, and nothing else that removes segments meanwhile. */
export class Compaction {
  /** Where the written segment began when there was nothing to do: an idle partition's folder is left alone. */
  private idleAtBase = -1;
  private leftoversGone = false;

  constructor(
    private readonly surroundings: PartitionSurroundings,
    private readonly options: PartitionOptions,
    private readonly partition: CompactedPartition,
  ) {}

  /** A replacement that failed half-way is brought to its end: before that nobody else touches the segments. */
  async complete(): Promise<void> {
    const { files } = this.partition;
    if (files.replacing === undefined) return;
    await files.replace(files.replacing);
    await this.replace();
  }

  async run(): Promise<void> {
    const { config, folder } = this.options;
    const { fileSystem, clock } = this.surroundings;
    const { files, published } = this.partition;
    if (!compacts(config) || (this.idleAtBase === published.baseOffset && config.minCompactionLagMs === 0)) return;
    // recovery removes them too, but not after a clean end: a loss of power may bring back what was removed just before it
    if (!this.leftoversGone) await removeCleanedFiles(fileSystem, folder);
    this.leftoversGone = true;
    const { lastStableOffset } = this.partition;
    for (;;) {
      const cleanableEnd = Math.min(published.baseOffset, lastStableOffset);
      const plan = await planCompaction(fileSystem, folder, config, files.cleanedTo, cleanableEnd, clock.now());
      if (plan === undefined) break;
      if (!(await this.passOver(plan.segments, plan.dirtyFrom, published.baseOffset))) return;
    }
    if (lastStableOffset >= published.baseOffset) this.idleAtBase = published.baseOffset;
  }

  /** False: it was stopped. */
  private async passOver(segments: readonly RolledSegment[], dirtyFrom: number, writtenBase: number): Promise<boolean> {
    try {
      await this.pass(segments, dirtyFrom, writtenBase);
      return true;
    } catch (error) {
      const { fileSystem } = this.surroundings;
      if (this.partition.files.replacing === undefined) await removeCleanedFiles(fileSystem, this.options.folder).catch(() => undefined);
      if (isStop(error)) return false;
      throw error;
    }
  }

  private async pass(segments: readonly RolledSegment[], dirtyFrom: number, writtenBase: number): Promise<void> {
    const { fileSystem, clock, space, logger } = this.surroundings;
    const { folder, config } = this.options;
    const { partition } = this;
    const slices = new Slices(clock, COMPACTION_BYTES_PER_SECOND_MAX, () => partition.isLeaving);
    // what recovery goes on from must not lie in a file that is replaced
    await partition.files.restFrom(writtenBase);
    // the markers that decided a transaction must not be lost after its records were compacted accordingly
    await partition.sync();
    const now = clock.now();
    const abortedIn: AbortedIn = (from, to) => partition.abortedTransactions(from, to);
    const producers = await durableProducers(fileSystem, folder, writtenBase, now, sayDamagedTo(logger));
    const keys = await readDirtyKeys(
      fileSystem,
      folder,
      segments,
      dirtyFrom,
      abortedIn,
      this.surroundings.keyMemoryBytesMax ?? KEY_MEMORY_BYTES_MAX,
      slices,
    );
    const surroundings: CompactionSurroundings = { fileSystem, folder, config, space, slices, now, abortedIn };
    const rules = { keys, producers, openTransactions: new Set<bigint>() };
    const seen = segments.filter(({ baseOffset }) => baseOffset < keys.end);
    const before = seen.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const group of groupsOf(seen, config.segmentBytes)) {
      const [first, last] = [group[0] as RolledSegment, group.at(-1) as RolledSegment];
      if (!(await cleanSegments(surroundings, group, rules))) {
        await removeCleanedFiles(fileSystem, folder);
        continue;
      }
      slices.checkStopped();
      // an older one may know a transaction as open whose marker goes now
      await removeSnapshotsBelow(fileSystem, folder, writtenBase);
      await fileSystem.syncDirectory(folder);
      await partition.files.replace({ base: first.baseOffset, end: last.nextBase });
      await this.replace();
    }
    await partition.files.cleaned(keys.end);
    logger.info("compacted a partition", { partition: partition.where, bytes: before, keys: keys.offsets.size, upTo: keys.end });
  }

  private async replace(): Promise<void> {
    const { files } = this.partition;
    if (files.replacing === undefined) return;
    await replaceSegments(this.surroundings.fileSystem, this.options.folder, files.replacing, this.partition);
    await files.replaced();
  }
}
