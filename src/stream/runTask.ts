import { setImmediate as nextTurn } from "node:timers/promises";
import { MillraceError } from "../base/errors.ts";
import { RepeatedTrouble } from "../base/repeatedTrouble.ts";
import type { Task, TaskHost, TaskStatus } from "./contract/host.ts";
import { TaskRunner } from "./engine/taskRunner.ts";
import type { Pipeline } from "./pipeline.ts";

/** Runs a pipeline until it is stopped, drained, or fails. Starts at once, from its last checkpoint. */
export function runTask(pipeline: Pipeline, host: TaskHost): Task {
  return new RunningTask(pipeline, host);
}

const BACKOFF_MS_MIN = 200;
const BACKOFF_MS_MAX = 30_000;
/** A topic that is not there yet is somebody's next step, not a failure: they should not have to wait. */
const TOPIC_LOOK_MS = 500;
/** How often silent partitions are looked at, so that an idle one is noticed. */
const SILENCE_TICK_MS = 250;

class RunningTask implements Task {
  readonly done: Promise<"stopped" | "drained">;
  private wanted: "stop" | "drain" | undefined;
  private runner: TaskRunner | undefined;
  private lastStatus: TaskStatus = { epoch: 0, recordsIn: 0, late: 0, dead: 0, rowsOut: {}, watermark: undefined, offsets: {} };
  private waking: AbortController | undefined;
  /** What it failed at last, until it has got on. */
  private trouble: TaskStatus["trouble"];
  private readonly repeated = new RepeatedTrouble();
  /** That a topic is not there yet is said once. */
  private saidWaiting = false;

  constructor(
    private readonly pipeline: Pipeline,
    private readonly host: TaskHost,
  ) {
    this.done = this.supervise();
    this.done.catch(() => undefined); // whoever waits for it sees it; nobody has to
  }

  status(): TaskStatus {
    if (this.runner !== undefined) this.lastStatus = this.runner.engine.status();
    return this.trouble === undefined ? this.lastStatus : { ...this.lastStatus, trouble: this.trouble };
  }

  stop(): Promise<void> {
    return this.end("stop");
  }

  drain(): Promise<void> {
    return this.end("drain");
  }

  private async end(how: "stop" | "drain"): Promise<void> {
    this.wanted = how;
    this.waking?.abort();
    await this.done;
  }

  /** Starts again, with backoff, after what can pass by itself. */
  private async supervise(): Promise<"stopped" | "drained"> {
    for (let failures = 0; ; failures++) {
      const epochBefore = this.lastStatus.epoch;
      try {
        return await this.runOnce();
      } catch (error) {
        await this.closeRunner();
        if (this.wanted !== undefined && isMissingTopic(error)) return this.wanted === "drain" ? "drained" : "stopped"; // nothing was ever there
        if (!(error instanceof MillraceError) || !error.retryable) throw error;
        if (this.wanted === "stop") return "stopped";
        if (this.lastStatus.epoch > epochBefore) failures = 0;
        const missing = isMissingTopic(error);
        this.trouble = { code: error.code, message: error.message, hint: error.hint };
        const delayMs = missing ? TOPIC_LOOK_MS : Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(failures, 10));
        this.warn(error, missing, delayMs);
        await this.sleep(delayMs);
      }
    }
  }

  private warn(error: MillraceError, missingTopic: boolean, delayMs: number): void {
    const { code, message, hint } = error;
    const fields = { pipeline: this.pipeline.name, code, error: message, hint };
    if (!missingTopic)
      this.host.logger[this.repeated.isNews(error) ? "warn" : "debug"]("The pipeline starts again", { ...fields, delayMs });
    else if (!this.saidWaiting) this.host.logger.warn("The pipeline waits for its topic", fields);
    this.saidWaiting = missingTopic;
  }

  private async runOnce(): Promise<"stopped" | "drained"> {
    const runner = await TaskRunner.open(this.pipeline, this.host);
    this.runner = runner;
    if (this.trouble?.code === missingTopicCode) this.trouble = undefined;
    if (runner.engine.drained) {
      this.host.logger.info(
        "The pipeline was drained earlier and does not begin again: rename it, or stop the node and remove its file in checkpoints/",
        {
          pipeline: this.pipeline.name,
        },
      );
      await this.closeRunner();
      return "drained";
    }
    const { checkpointIntervalMs, pullBytesMax } = this.host.options;
    let due = this.now + checkpointIntervalMs;
    let limited = false;
    for (;;) {
      if (this.wanted === "stop") return this.finish(runner, "stopped");
      if (this.wanted === "drain" && !limited) {
        runner.limitToNow();
        limited = true;
      }
      const found = await runner.step(pullBytesMax);
      if (limited && runner.engine.finished && (await runner.advanceTo(Number.POSITIVE_INFINITY))) return this.finish(runner, "drained");
      if (this.now >= due) {
        if (runner.dirty) await this.checkpoint(runner);
        due = this.now + checkpointIntervalMs;
      }
      // user code is synchronous: between two pulls everybody else in this thread gets a turn
      if (found || limited) await nextTurn();
      else await this.untilMore(runner, due);
    }
  }

  private async checkpoint(runner: TaskRunner, drained = false): Promise<void> {
    await runner.checkpoint(drained);
    this.trouble = undefined;
    if (this.repeated.over()) this.host.logger.info("The pipeline goes on", { pipeline: this.pipeline.name });
  }

  private async finish(runner: TaskRunner, how: "stopped" | "drained"): Promise<"stopped" | "drained"> {
    if (how === "drained" || runner.dirty) await this.checkpoint(runner, how === "drained");
    await this.closeRunner();
    return how;
  }

  private async closeRunner(): Promise<void> {
    const { runner } = this;
    if (runner === undefined) return;
    this.lastStatus = runner.engine.status();
    this.runner = undefined;
    await runner.close();
  }

  private async untilMore(runner: TaskRunner, due: number): Promise<void> {
    const waking = new AbortController();
    this.waking = waking;
    const timer = this.host.clock.after(Math.max(1, Math.min(SILENCE_TICK_MS, due - this.now)), () => waking.abort());
    if (this.wanted === undefined) await runner.engine.untilMore(waking.signal);
    timer.cancel();
    waking.abort(); // the waits of the other partitions end too
    this.waking = undefined;
  }

  private sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const waking = new AbortController();
      this.waking = waking;
      const timer = this.host.clock.after(delayMs, resolve);
      waking.signal.addEventListener("abort", () => {
        timer.cancel();
        resolve();
      });
    });
  }

  private get now(): number {
    return this.host.clock.monotonicMs();
  }
}

const missingTopicCode = "TOPIC_NOT_FOUND";
const isMissingTopic = (error: unknown): boolean => error instanceof MillraceError && error.code === missingTopicCode;
