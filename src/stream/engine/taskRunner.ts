import type { Skip } from "../checkpoint/checkpoint.ts";
import type { TaskHost } from "../contract/host.ts";
import type { Pipeline } from "../pipeline.ts";
import { type EngineHooks, TaskEngine } from "./taskEngine.ts";

/**
 * A pipeline over its incarnations: a record that a callback throws at ends one (RxJS errors are terminal); the next begins at the last
 * checkpoint and leaves the record out. Everything in here is driven step by step, by a task or by the test kit.
 */
export class TaskRunner {
  /** Failed at since the last checkpoint. */
  private readonly skips = new Map<string, Skip>();
  private draining = false;
  private recordsAtCheckpoint: number;
  private watermarkAtCheckpoint: number | undefined;

  private constructor(
    private readonly pipeline: Pipeline,
    private readonly host: TaskHost,
    private readonly hooks: EngineHooks,
    /** The incarnation of now. */
    public engine: TaskEngine,
  ) {
    const { recordsIn, watermark } = engine.status();
    this.recordsAtCheckpoint = recordsIn;
    this.watermarkAtCheckpoint = watermark;
  }

  static async open(pipeline: Pipeline, host: TaskHost, hooks: EngineHooks = {}): Promise<TaskRunner> {
    return new TaskRunner(pipeline, host, hooks, await TaskEngine.open(pipeline, host, [], hooks));
  }

  /** Something happened since the last checkpoint. */
  get dirty(): boolean {
    const { recordsIn, watermark } = this.engine.status();
    return recordsIn !== this.recordsAtCheckpoint || watermark !== this.watermarkAtCheckpoint;
  }

  /** Takes in what is there, up to about `bytesMax` or `recordsMax`; false: everything is taken in. */
  async step(bytesMax: number, recordsMax?: number): Promise<boolean> {
    const found = await this.engine.fill(bytesMax);
    if (found) this.engine.push(bytesMax, recordsMax);
    this.engine.noteSilence(this.host.clock.monotonicMs());
    if (await this.rebuiltAfterFailure()) return true;
    await this.engine.sinksDrained();
    if (this.engine.checkpointWanted) await this.checkpoint();
    return found;
  }

  /** Fires what ends at or before `watermark`; after a failure it must be asked again, when all is taken in again: false. */
  async advanceTo(watermark: number): Promise<boolean> {
    this.engine.advanceTo(watermark);
    if (await this.rebuiltAfterFailure()) return false;
    await this.engine.sinksDrained();
    return true;
  }

  /** From now on nothing beyond what is readable now is taken. */
  limitToNow(): void {
    this.draining = true;
    this.engine.limitToNow();
  }

  async checkpoint(drained = false): Promise<void> {
    await this.engine.checkpoint(drained);
    this.skips.clear();
    const { recordsIn, watermark } = this.engine.status();
    this.recordsAtCheckpoint = recordsIn;
    this.watermarkAtCheckpoint = watermark;
  }

  close(): Promise<void> {
    return this.engine.close();
  }

  private async rebuiltAfterFailure(): Promise<boolean> {
    const skip = this.engine.failedAt;
    if (skip === undefined) return false;
    this.host.logger.warn("A callback threw; the record goes to the dead topic", {
      pipeline: this.pipeline.name,
      place: skip.place,
      operator: skip.operator,
      error: skip.message,
    });
    this.skips.set(skip.place, skip);
    await this.engine.close();
    this.engine = await TaskEngine.open(this.pipeline, this.host, this.skips.values(), this.hooks);
    if (this.draining) this.engine.limitToNow();
    return true;
  }
}
