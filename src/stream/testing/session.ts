import type { Clock } from "../../base/clock.ts";
import { silentLogger } from "../../base/logger.ts";
import { nodeFileSystem } from "../../base/nodeFileSystem.ts";
import { records } from "../../record/batch.ts";
import type { NewRecord } from "../../record/record.ts";
import type { CheckpointStore, TaskHost, TaskStep } from "../contract/host.ts";
import { DeadHeader } from "../engine/deadLetters.ts";
import { TaskRunner } from "../engine/taskRunner.ts";
import type { Pipeline } from "../pipeline.ts";
import { CaptureStore } from "./capture.ts";
import { MemoryLog } from "./memoryLog.ts";

/** A record that a pipeline could not process, as its dead topic has it. */
export interface DeadRecord {
  readonly reason: string;
  readonly message: string;
  readonly operator: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly value: string | null;
}

/** What a test does to a pipeline, so that it can be done again with crashes. */
export type Action =
  | { readonly kind: "record"; readonly topic: string; readonly partition: number; readonly record: NewRecord; readonly shown: string }
  | { readonly kind: "watermark"; readonly to: number };

/** Thrown at a named step in place of a crash. */
export class Crash extends Error {}

const PULL_BYTES_MAX = 1 << 20;
/** Time stands still: nothing in a test depends on how fast it runs. */
const frozenClock: Clock = { now: () => 0, monotonicMs: () => 0, after: () => ({ cancel: () => undefined }) };

/** A pipeline and the world that outlives its crashes: log, checkpoints, what its sinks have. */
export class Session {
  readonly log = new MemoryLog();
  readonly capture = new CaptureStore();
  /** What the dead topic had after the last `settle`. */
  dead: readonly DeadRecord[] = [];
  private readonly checkpoints = new Map<string, Uint8Array>();
  private readonly sequences = new Map<string, number>();
  private crashAt: TaskStep | undefined;
  private runner: TaskRunner | undefined;

  constructor(
    private readonly pipeline: Pipeline,
    private readonly partitions: number,
  ) {}

  async open(): Promise<void> {
    const host: TaskHost = {
      log: this.log,
      checkpoints: this.checkpointStore(),
      fileSystem: nodeFileSystem,
      clock: frozenClock,
      logger: silentLogger,
      baseDirectory: ".",
      options: { checkpointIntervalMs: 0, pullBytesMax: PULL_BYTES_MAX },
      onStep: (step) => {
        if (step !== this.crashAt) return;
        this.crashAt = undefined;
        throw new Crash(step);
      },
    };
    this.runner = await TaskRunner.open(this.pipeline, host, {
      openSink: async (_, context) => this.capture.open(context),
      captureOutput: ({ id }) => ({
        kind: "sink",
        name: `output ${id}`,
        wants: "anything",
        open: async (context) => this.capture.open(context),
      }),
      prepareTopic: (topic) => this.log.createTopic(topic, { partitions: this.partitions }).then(() => undefined),
    });
  }

  /** The next call of this step throws a Crash. */
  armCrash(step: TaskStep): void {
    this.crashAt = step;
  }

  /** Everything that is not in a checkpoint is gone; then starts again. */
  async crash(): Promise<void> {
    this.crashAt = undefined;
    await this.runner?.close();
    await this.open();
  }

  async append(action: Extract<Action, { kind: "record" }>): Promise<void> {
    const { topic, partition, record } = action;
    await this.log.createTopic(topic, (await this.log.describeTopic(topic)) === undefined ? { partitions: this.partitions } : {});
    const at = `${topic}-${partition}`;
    const sequence = this.sequences.get(at) ?? 0;
    await this.log.append({ name: "test", epoch: 0 }, topic, partition, sequence, [record]);
    this.sequences.set(at, sequence + 1);
  }

  /** Takes in everything that is there; checkpointed when it returns. */
  async settle(): Promise<void> {
    await this.takeIn();
    await this.open_.checkpoint();
    this.dead = await this.readDead();
  }

  async takeIn(): Promise<void> {
    while (await this.open_.step(PULL_BYTES_MAX));
  }

  async advanceTo(watermark: number): Promise<void> {
    while (!(await this.open_.advanceTo(watermark))) await this.takeIn();
  }

  rows(id: string): readonly unknown[] {
    return this.capture.rows(id);
  }

  private async readDead(): Promise<DeadRecord[]> {
    const description = await this.log.describeTopic(`${this.pipeline.name}.dead`);
    const found: DeadRecord[] = [];
    for (const descriptor of description?.partitions ?? []) {
      const reader = await this.log.openReader(descriptor);
      for (const { headers, value } of records(await reader.read(0, Number.POSITIVE_INFINITY))) {
        const of = new Map(headers.map((header) => [header.key, String(header.value)]));
        found.push({
          reason: of.get(DeadHeader.reason) ?? "",
          message: of.get(DeadHeader.message) ?? "",
          operator: of.get(DeadHeader.operator) ?? "",
          topic: of.get(DeadHeader.topic) ?? "",
          partition: Number(of.get(DeadHeader.partition)),
          offset: Number(of.get(DeadHeader.offset)),
          value: value === null ? null : String(value),
        });
      }
    }
    return found;
  }

  async close(): Promise<void> {
    await this.runner?.close();
  }

  private get open_(): TaskRunner {
    if (this.runner === undefined) throw new Error("The session is not open.");
    return this.runner;
  }

  private checkpointStore(): CheckpointStore {
    return {
      load: async (pipeline) => this.checkpoints.get(pipeline),
      commit: async (pipeline, checkpoint) => {
        this.checkpoints.set(pipeline, checkpoint);
      },
    };
  }
}
