import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import type { CheckpointStore, TaskHost } from "../../src/stream/contract/host.ts";
import type { Sink } from "../../src/stream/contract/sink.ts";
import { CaptureStore } from "../../src/stream/testing/capture.ts";
import { MemoryLog } from "../../src/stream/testing/memoryLog.ts";
import type { Topic } from "../../src/stream/topic.ts";

/** What outlives a task: the log, the checkpoints, what its sinks have. */
export class World {
  readonly log = new MemoryLog();
  readonly store = new CaptureStore();
  readonly saved = new Map<string, Uint8Array>();
  readonly checkpoints: CheckpointStore = {
    load: async (pipeline) => this.saved.get(pipeline),
    commit: async (pipeline, checkpoint) => {
      this.saved.set(pipeline, checkpoint);
    },
  };
  private readonly sequences = new Map<string, number>();

  host(more: Partial<TaskHost> = {}): TaskHost {
    return {
      log: this.log,
      checkpoints: this.checkpoints,
      fileSystem: nodeFileSystem,
      clock: systemClock,
      logger: silentLogger,
      baseDirectory: ".",
      options: { checkpointIntervalMs: 5, pullBytesMax: 4096 },
      ...more,
    };
  }

  /** A sink whose rows are `rows(name)`. */
  sink<T>(name: string): Sink<T> {
    return { kind: "sink", name, wants: "anything", open: async (context) => this.store.open(context) };
  }

  rows(name: string): readonly unknown[] {
    return this.store.rows(name);
  }

  async send<T>(to: Topic<T>, values: readonly T[], partition = 0): Promise<void> {
    await this.sendText(
      to.name,
      values.map((value) => to.codec.encode(value)),
      partition,
    );
  }

  async sendText(topic: string, texts: readonly string[], partition = 0): Promise<void> {
    await this.log.createTopic(topic);
    const at = `${topic}-${partition}`;
    const sequence = this.sequences.get(at) ?? 0;
    const records = texts.map((text) => ({ key: null, value: Buffer.from(text), headers: [], timestamp: 0 }));
    await this.log.append({ name: "test", epoch: 0 }, topic, partition, sequence, records);
    this.sequences.set(at, sequence + texts.length);
  }
}
