import type { FileSystem } from "../../base/fileSystem.ts";
import type { ClosedBatch } from "./openBatches.ts";
import type { ProducerState } from "./producerState.ts";
import { Segment } from "./segment.ts";
import { writeSnapshot } from "./snapshotFile.ts";

/** Writes a partition's batches into its last segment and rolls to the next one. One call at a time. */
export class SegmentWriter {
  /** Written, and not forced to the disk. */
  private dirty = false;

  constructor(
    private readonly fileSystem: FileSystem,
    private readonly folder: string,
    private readonly segmentBytes: number,
    private active: Segment,
    /** The producers of what is written; those of what is only appended would be wrong in a snapshot. */
    private readonly producers: ProducerState,
  ) {}

  get baseOffset(): number {
    return this.active.baseOffset;
  }

  /** In the segment that is being written. */
  get bytes(): number {
    return this.active.bytes;
  }

  /** Batches that lie back to back in `bytes`. */
  async write(bytes: Buffer, batches: readonly ClosedBatch[]): Promise<void> {
    let from = 0;
    for (const batch of batches) {
      const position = this.active.bytes + batch.at - from;
      if (position > 0 && position + batch.end - batch.at > this.segmentBytes) {
        await this.writeToActive(bytes.subarray(from, batch.at));
        from = batch.at;
        await this.roll(batch.baseOffset);
      }
      this.active.noteBatch(batch.baseOffset, this.active.bytes + batch.at - from);
      const { producer } = batch;
      if (producer !== undefined) this.producers.applied(producer.id, producer.epoch, producer.baseSequence, batch.records);
    }
    await this.writeToActive(bytes.subarray(from));
  }

  async sync(): Promise<void> {
    if (!this.dirty) return;
    await this.active.sync();
    this.dirty = false;
  }

  /** For a clean end, of the segment or of all: everything on the disk, with what the next start likes to know. */
  async seal(nextOffset: number): Promise<void> {
    await this.sync();
    await this.active.writeIndex();
    await writeSnapshot(this.fileSystem, this.folder, nextOffset, this.producers);
  }

  /** After a failure: takes back what nobody was told about. Best effort, recovery copes with either. */
  async cutBack(baseOffset: number, bytes: number): Promise<void> {
    await this.active.cutTo(this.active.baseOffset === baseOffset ? bytes : 0).catch(() => undefined);
  }

  close(): Promise<void> {
    return this.active.close();
  }

  private async writeToActive(bytes: Buffer): Promise<void> {
    if (bytes.length === 0) return;
    this.dirty = true;
    await this.active.write(bytes);
  }

  /** The order is what recovery relies on: a segment that is not the last one is whole on the disk. */
  private async roll(baseOffset: number): Promise<void> {
    await this.seal(baseOffset);
    const next = await Segment.create(this.fileSystem, this.folder, baseOffset);
    await this.fileSystem.syncDirectory(this.folder);
    await this.active.close();
    this.active = next;
  }
}
