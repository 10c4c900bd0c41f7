import { MillraceError } from "../../base/errors.ts";
import { Random } from "../../base/random.ts";
import type { NewRecord } from "../../record/record.ts";
import type { Pipeline } from "../pipeline.ts";
import { type Instant, instantMs } from "../time.ts";
import type { Topic } from "../topic.ts";
import { compareWithCrashes } from "./crashRuns.ts";
import { type Action, type DeadRecord, Session } from "./session.ts";

export interface TestOptions {
  /** Chooses the partition of each record that is sent. Default 1. */
  readonly seed?: number;
  /** Of each topic. Default 1. */
  readonly partitions?: number;
}

export interface TestPipeline extends AsyncDisposable {
  /** Through the topic's codec, then through the pipeline; its results are visible when this resolves. */
  send<T>(to: Topic<T>, records: readonly NoInfer<T>[]): Promise<void>;
  /** Raw text, as another program may publish it. */
  sendText(to: { readonly name: string }, texts: readonly string[]): Promise<void>;
  /** As if every partition had come that far in event time. */
  advanceWatermark(to: Instant): Promise<void>;
  /** A sink's rows, by its id, its name, or what its name ends with: "out/hourly-delays", "flights.late". */
  rows(sink: string): readonly Record<string, unknown>[];
  /** What went into a side output. */
  late(output: string): readonly unknown[];
  /** What the pipeline could not process. */
  dead(): readonly DeadRecord[];
  /**
   * Does everything again with a crash and a restart at each record and at each step of the checkpoint; throws CRASH_CHANGES_RESULT
   * with the record and the difference when the results are not the same.
   */
  crashAtEveryRecord(): Promise<void>;
}

/** A pipeline under test: no node, no disk, no waiting. Rows are what its sinks would have made visible. */
export async function testPipeline(pipeline: Pipeline, options: TestOptions = {}): Promise<TestPipeline> {
  const session = new Session(pipeline, options.partitions ?? 1);
  await session.open();
  return new PipelineTest(pipeline, session, options);
}

class PipelineTest implements TestPipeline {
  private readonly actions: Action[] = [];
  private readonly random: Random;
  private readonly partitions: number;

  constructor(
    private readonly pipeline: Pipeline,
    private readonly session: Session,
    options: TestOptions,
  ) {
    this.random = new Random(options.seed ?? 1);
    this.partitions = options.partitions ?? 1;
  }

  send<T>(to: Topic<T>, records: readonly NoInfer<T>[]): Promise<void> {
    return this.sendText(
      to,
      records.map((record) => to.codec.encode(record)),
    );
  }

  async sendText(to: { readonly name: string }, texts: readonly string[]): Promise<void> {
    for (const text of texts) {
      const record: NewRecord = { key: null, value: Buffer.from(text), headers: [], timestamp: 0 };
      const partition = this.random.below(this.partitions);
      const action: Action = { kind: "record", topic: to.name, partition, record, shown: text };
      this.actions.push(action);
      await this.session.append(action);
    }
    await this.session.settle();
  }

  async advanceWatermark(to: Instant): Promise<void> {
    const time = instantMs(to);
    this.actions.push({ kind: "watermark", to: time });
    await this.session.advanceTo(time);
    await this.session.settle();
  }

  rows(sink: string): readonly Record<string, unknown>[] {
    const { ids } = this.session.capture;
    const id = ids.find((id) => id === sink) ?? ids.find((id) => id.endsWith(` ${sink}`) && !id.startsWith("output "));
    if (id === undefined) throw unknownName("sink", sink, ids);
    return this.session.rows(id) as readonly Record<string, unknown>[];
  }

  late(output: string): readonly unknown[] {
    const id = `output ${output}`;
    const { ids } = this.session.capture;
    if (!ids.includes(id)) throw unknownName("output", output, ids);
    return this.session.rows(id);
  }

  dead(): readonly DeadRecord[] {
    return this.session.dead;
  }

  crashAtEveryRecord(): Promise<void> {
    return compareWithCrashes(this.pipeline, this.partitions, this.actions);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session.close();
  }
}

function unknownName(kind: string, name: string, ids: readonly string[]): MillraceError {
  return new MillraceError("NOT_IN_PIPELINE", `The pipeline has no ${kind} '${name}'.`, {
    domain: "user",
    hint: `It has: ${ids.join(", ")}.`,
  });
}
