/**
 * One incarnation of a pipeline: opened from the last checkpoint, driven from outside (fill, push, checkpoint), thrown away when it
 * fails. Nothing that it did after the last checkpoint counts.
 */
import { toMillraceError } from "../../base/errors.ts";
import { type Checkpoint, decodeCheckpoint, encodeCheckpoint, type SinkState, type Skip } from "../checkpoint/checkpoint.ts";
import { incompatible, newResults } from "../checkpoint/compatibility.ts";
import { packState, unpackState } from "../checkpoint/stateJson.ts";
import type { TaskHost, TaskStatus } from "../contract/host.ts";
import type { Sink, SinkContext, SinkWriter } from "../contract/sink.ts";
import type { OutputNode } from "../operators/output.ts";
import type { Pipeline } from "../pipeline.ts";
import { TopicWriter } from "../topicWriter.ts";
import { type BuiltGraph, buildGraph } from "./buildGraph.ts";
import { DeadLetterBox } from "./deadLetters.ts";
import { Inputs } from "./inputs.ts";
import type { PartitionInput } from "./partitionInput.ts";
import { sinkFailed } from "./sinkNode.ts";

/** The dead topic's place among the sinks of a checkpoint. */
const DEAD_ID = "millrace:dead";

/** What the test kit puts in place of the world. */
export interface EngineHooks {
  /** Opens a sink's writer; else the sink does itself. */
  openSink?(sink: Sink<never, unknown>, context: SinkContext): Promise<SinkWriter>;
  /** A sink on each side output, whether the pipeline has one or not. */
  captureOutput?(output: OutputNode): Sink<never, unknown>;
  /** Called for each source's topic before it is opened. */
  prepareTopic?(topic: string): Promise<void>;
}

interface OpenSink {
  readonly id: string;
  readonly writer: SinkWriter;
  state(pending: SinkState["pending"], resume: SinkState["resume"]): SinkState;
}

export class TaskEngine {
  epoch = 0;
  drained = false;
  recordsIn = 0;
  private readonly skips = new Map<string, Skip>();
  private readonly skipped = new Set<string>();
  private readonly openSinks: OpenSink[] = [];
  private inputs!: Inputs;
  private dead!: DeadLetterBox;

  private constructor(
    private readonly pipeline: Pipeline,
    private readonly host: TaskHost,
    private readonly built: BuiltGraph,
  ) {}

  /** `skips`: what the incarnations before this one failed at since the last checkpoint. */
  static async open(pipeline: Pipeline, host: TaskHost, skips: Iterable<Skip> = [], hooks: EngineHooks = {}): Promise<TaskEngine> {
    const built = buildGraph(pipeline, host.logger, hooks.captureOutput);
    const engine = new TaskEngine(pipeline, host, built);
    const bytes = await host.checkpoints.load(pipeline.name);
    const before = bytes === undefined ? undefined : decodeCheckpoint(bytes, pipeline.name);
    for (const skip of [...(before?.skips ?? []), ...skips]) engine.skips.set(skip.place, skip);
    try {
      await engine.restore(before, hooks);
    } catch (error) {
      await engine.close();
      throw error;
    }
    host.onStep?.("started", engine.epoch);
    return engine;
  }

  /** What made the last push fail, if a replay without it can help. */
  get failedAt(): Skip | undefined {
    const { failure, context } = this.built.graph;
    if (failure === undefined) return undefined;
    const { error, operator, firing } = failure;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const { topic, partition, offset } = context;
    const place =
      firing === undefined ? recordPlace(topic, partition, offset) : firingPlace(firing.operator, firing.windowStart, firing.keyId);
    return { place, reason: "CALLBACK_FAILED", message: text, operator };
  }

  get caughtUp(): boolean {
    return this.inputs.all.every((input) => !input.hasRecord && !input.hungry);
  }

  get finished(): boolean {
    return this.inputs.all.every((input) => input.finished);
  }

  /** A buffer is full until the next checkpoint, or a skipped record should not be replayed again. */
  get checkpointWanted(): boolean {
    return this.skipped.size > 0 || this.openSinks.some((sink) => sink.writer.checkpointWanted?.() === true);
  }

  status(): TaskStatus {
    const { graph, sinks } = this.built;
    return {
      epoch: this.epoch,
      recordsIn: this.recordsIn,
      late: graph.late,
      dead: this.dead.count,
      rowsOut: Object.fromEntries(sinks.map((sink) => [sink.id, sink.rows])),
      watermark: graph.watermark === Number.NEGATIVE_INFINITY ? undefined : graph.watermark,
      offsets: Object.fromEntries(this.inputs.all.map(({ reader, nextOffset }) => [`${reader.topic}-${reader.partition}`, nextOffset])),
    };
  }

  /** Reads where something is to be read; false: nothing is in hand. */
  fill(bytesMax: number): Promise<boolean> {
    return this.inputs.fill(bytesMax);
  }

  /** Pushes records in order of event time, as far as they are in hand. Throws what ends the task; a poison record shows in `failedAt`. */
  push(bytesMax: number, recordsMax = Number.POSITIVE_INFINITY): void {
    this.inputs.inOrder((input) => this.pushRecord(input), bytesMax, recordsMax);
    this.throwFatal();
  }

  /** Partitions without records stop holding the watermark back after their time. */
  noteSilence(nowMs: number): void {
    for (const input of this.inputs.all) input.noteSilence(nowMs);
    this.advanceTo(this.inputs.watermark());
  }

  /** Fires what ends at or before `watermark`, as if all partitions had come that far. */
  advanceTo(watermark: number): void {
    if (!this.built.graph.broken) this.built.graph.advance(watermark);
    this.throwFatal();
  }

  async sinksDrained(): Promise<void> {
    for (const sink of this.openSinks) await guarded(sink.id, () => sink.writer.drained());
  }

  /** From now on nothing beyond what is readable now is taken. */
  limitToNow(): void {
    this.inputs.limitToNow();
  }

  untilMore(signal: AbortSignal): Promise<unknown> {
    return Promise.race(this.inputs.all.map((input) => input.reader.untilAbove(input.nextOffset, signal)));
  }

  /** In the order that makes exactly-once: sources durable, sinks durable, checkpoint durable, results visible. */
  async checkpoint(drained = false): Promise<void> {
    const { host, built } = this;
    const epoch = this.epoch + 1;
    for (const source of built.sources) await host.log.sync(source.topicName);
    const sinks: Record<string, SinkState> = {};
    for (const sink of this.openSinks) {
      const { pending, resume } = await guarded(sink.id, () => sink.writer.snapshot(epoch));
      sinks[sink.id] = sink.state(pending, resume);
    }
    const checkpoint = this.checkpointOf(epoch, drained, sinks);
    host.onStep?.("prepared", epoch);
    await host.checkpoints.commit(this.pipeline.name, encodeCheckpoint(checkpoint));
    this.epoch = epoch;
    this.drained = drained;
    for (const place of this.skipped) this.skips.delete(place);
    this.skipped.clear();
    host.onStep?.("checkpointed", epoch);
    for (const sink of this.openSinks) await this.commitPending(sink, sinks[sink.id] as SinkState, epoch);
    host.onStep?.("committed", epoch);
    if (drained) host.onStep?.("drained", epoch);
  }

  /** Gives up what was not checkpointed. */
  async close(): Promise<void> {
    await this.inputs?.close();
    for (const sink of this.openSinks) await sink.writer.close();
  }

  private pushRecord(input: PartitionInput): boolean {
    const { graph } = this.built;
    const { context } = graph;
    const { cursor, source, reader } = input;
    context.topic = reader.topic;
    context.partition = reader.partition;
    context.offset = cursor.offset;
    context.timestamp = cursor.timestamp;
    context.keySpec = undefined;
    const skip = this.skips.size === 0 ? undefined : this.skips.get(recordPlace(reader.topic, reader.partition, cursor.offset));
    if (skip !== undefined) {
      this.skipped.add(skip.place);
      this.dead.record(input, skip);
    } else {
      const problem = source.push(cursor.bytes, cursor.valueAt, cursor.valueBytes);
      if (graph.broken) return false;
      if (problem !== undefined) this.dead.record(input, { ...problem, operator: source.label });
      else if (context.timestamp > input.maxEventTime) this.timePassed(input, context.timestamp);
    }
    this.recordsIn++;
    input.done();
    // the checkpoint that follows makes sure that no later failure replays this one again
    return skip === undefined && !graph.broken;
  }

  private timePassed(input: PartitionInput, eventTime: number): void {
    const heldBack = input.watermark <= this.built.graph.watermark || this.built.graph.watermark === Number.NEGATIVE_INFINITY;
    input.maxEventTime = eventTime;
    if (!heldBack) return; // another partition is the one that is behind
    this.built.graph.advance(this.inputs.watermark());
  }

  private async restore(before: Checkpoint | undefined, hooks: EngineHooks): Promise<void> {
    const { graph, sources } = this.built;
    this.epoch = before?.epoch ?? 0;
    this.drained = before?.drained ?? false;
    if (before !== undefined) {
      this.recordsIn = before.counters.recordsIn;
      graph.late = before.counters.late;
      this.restoreStates(before);
    }
    await this.openAllSinks(before, hooks);
    this.dead.count = before?.counters.dead ?? 0;
    for (const source of sources) await hooks.prepareTopic?.(source.topicName);
    this.inputs = await Inputs.open(this.host.log, sources, before?.sources ?? []);
    if (before !== undefined) graph.watermark = unpackState(before.watermark) as number;
    graph.skipsFiring = (operator, windowStart, keyId, row) => this.skipsFiring(operator, windowStart, keyId, row);
  }

  private restoreStates(before: Checkpoint): void {
    const { graph } = this.built;
    for (const [id, { fingerprint, state }] of Object.entries(before.states)) {
      const stateful = graph.stateful.get(id);
      if (stateful === undefined) {
        if (state === null) continue;
        throw incompatible(this.pipeline.name, `The checkpoint has state of '${id}', which the pipeline doesn't have`);
      }
      const added = newResults(this.pipeline.name, id, fingerprint, stateful.fingerprint());
      if (added.length > 0) this.host.logger.info("New results start empty", { pipeline: this.pipeline.name, id, results: added });
      stateful.restore(state, fingerprint);
    }
    for (const [id, { pending }] of Object.entries(before.sinks)) {
      if (id === DEAD_ID || pending.length === 0 || graph.stateful.has(`sink:${id}`)) continue;
      throw incompatible(this.pipeline.name, `The checkpoint has results for the sink '${id}', which the pipeline doesn't have`);
    }
  }

  private async openAllSinks(before: Checkpoint | undefined, hooks: EngineHooks): Promise<void> {
    for (const node of this.built.sinks) {
      const state = before?.sinks[node.id];
      const context = this.sinkContext(node.id, state);
      const writer = await guarded(node.id, () => hooks.openSink?.(node.sink, context) ?? node.sink.open(context));
      node.open(writer, state);
      const sink: OpenSink = {
        id: node.id,
        writer,
        state: (pending, resume) => ({ pending, resume, columns: node.columns.state, rows: node.rows }),
      };
      this.openSinks.push(sink);
      if (state !== undefined) await this.commitPending(sink, state, this.epoch);
    }
    const state = before?.sinks[DEAD_ID];
    const writer = await TopicWriter.open(this.sinkContext(DEAD_ID, state), `${this.pipeline.name}.dead`, String);
    const sink: OpenSink = { id: DEAD_ID, writer, state: (pending, resume) => ({ pending, resume, columns: null, rows: this.dead.count }) };
    this.openSinks.push(sink);
    this.dead = new DeadLetterBox(this.built.graph, writer);
    this.built.graph.deadLetters = this.dead;
    if (state !== undefined) await this.commitPending(sink, state, this.epoch);
  }

  private sinkContext(id: string, state: SinkState | undefined): SinkContext {
    const { host, pipeline } = this;
    return {
      pipeline: pipeline.name,
      id,
      resume: state?.resume ?? undefined,
      pending: state?.pending ?? [],
      epoch: this.epoch + 1,
      fileSystem: host.fileSystem,
      clock: host.clock,
      logger: host.logger.child({ sink: id }),
      log: host.log,
      baseDirectory: host.baseDirectory,
    };
  }

  private async commitPending(sink: OpenSink, { pending }: SinkState, epoch: number): Promise<void> {
    for (const handle of pending) {
      this.host.onStep?.("committing", epoch);
      await guarded(sink.id, () => sink.writer.commit(handle));
    }
    if (pending.length > 0) await guarded(sink.id, () => sink.writer.committed());
  }

  private checkpointOf(epoch: number, drained: boolean, sinks: Record<string, SinkState>): Checkpoint {
    const { graph } = this.built;
    const states: Record<string, Checkpoint["states"][string]> = {};
    for (const [id, stateful] of graph.stateful) states[id] = { fingerprint: stateful.fingerprint(), state: stateful.snapshot() };
    return {
      pipeline: this.pipeline.name,
      epoch,
      drained,
      sources: this.inputs.all.map((input) => input.position),
      watermark: packState(graph.watermark),
      states,
      sinks,
      counters: { recordsIn: this.recordsIn, late: graph.late, dead: this.dead.count },
      skips: [...this.skips.values()].filter((skip) => !this.skipped.has(skip.place)),
    };
  }

  private skipsFiring(operator: string, windowStart: number, keyId: unknown, row: unknown): boolean {
    const skip = this.skips.size === 0 ? undefined : this.skips.get(firingPlace(operator, windowStart, keyId));
    if (skip === undefined) return false;
    this.skipped.add(skip.place);
    this.dead.row(row, skip.reason, skip.message, skip.operator);
    return true;
  }

  private throwFatal(): void {
    const { fatal } = this.built.graph;
    if (fatal !== undefined) throw fatal;
  }
}

const recordPlace = (topic: string, partition: number, offset: number): string => `record ${topic}-${partition} ${offset}`;
const firingPlace = (operator: string, windowStart: number, keyId: unknown): string =>
  `row ${operator} ${windowStart} ${typeof keyId} ${String(keyId)}`;

async function guarded<T>(sink: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw sinkFailed(
      toMillraceError(error, "SINK_FAILED", `The sink '${sink}' failed.`, { domain: "external", where: `sink ${sink}` }),
      sink,
    );
  }
}
