/**
 * Keeps one pipeline running: builds its file, runs it in a thread, starts it again with a growing pause after a failure that can pass,
 * and says "failed" after one that cannot. Nothing in here takes the node down.
 */
import { existsSync } from "node:fs";
import type { Clock, Timer } from "../base/clock.ts";
import { MillraceError, toMillraceError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { TaskStatus } from "../stream/contract/host.ts";
import { bundlePipeline } from "./bundle.ts";
import { PipelineRun, type RunOptions } from "./pipelineRun.ts";

export type PipelineState = "starting" | "running" | "restarting" | "stopping" | "stopped" | "drained" | "failed";

export interface PipelineStatus {
  /** The name that the file gives it; the file's path until that is known. */
  readonly name: string;
  readonly file: string;
  readonly state: PipelineState;
  readonly restarts: number;
  /** Why it failed, or failed last. */
  readonly error: MillraceError | undefined;
  readonly task: TaskStatus | undefined;
}

export interface PipelineSurroundings {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly bundleDirectory: string;
  readonly run: NonNullable<RunOptions["run"]>;
  /** Takes a pipeline's name for this host; false if another one has it. */
  claim(name: string, host: PipelineHost): boolean;
}

const restartMsMin = 500;
const restartMsMax = 30_000;
/** A run of this length counts as recovered: the pause begins small again. */
const healthyMs = 60_000;
/** A thread that has not closed by then is spinning in user code: it is ended, and its last checkpoint counts. */
const stopMsMax = 20_000;

export class PipelineHost {
  private state: PipelineState = "starting";
  private error: MillraceError | undefined;
  private name: string | undefined;
  private restarts = 0;
  private pauseMs = restartMsMin;
  private current: PipelineRun | undefined;
  private lastTask: TaskStatus | undefined;
  /** What runs, also after a failure: only a reload puts another one in its place. */
  private bundle: string | undefined;
  /** The file that the last build gave, or what was wrong with it. */
  private lastBuild: string | undefined;
  private readonly filesOf = { bundle: new Set<string>(), lastBuild: new Set<string>() };
  private loading: PipelineRun | undefined;
  private overtakings = 0;
  private wakeUp: (() => void) | undefined;
  private ending: "stop" | "drain" | undefined;
  /** The node ends: what was stopped for a reload must not begin again. */
  private closed = false;
  private ended: Promise<void> = Promise.resolve();

  constructor(
    readonly file: string,
    private readonly around: PipelineSurroundings,
  ) {}

  /** Resolves when the pipeline runs or the first attempt has failed; how it is going is in `status`. */
  start(): Promise<void> {
    return new Promise((firstAttemptOver) => {
      this.ended = this.keepRunning(firstAttemptOver).finally(firstAttemptOver);
    });
  }

  status(): PipelineStatus {
    return {
      name: this.name ?? this.file,
      file: this.file,
      state: this.state,
      restarts: this.restarts,
      error: this.error,
      task: this.current?.status ?? this.lastTask,
    };
  }

  /** Every file of the user's that the running pipeline was built from, or that the last build read. */
  get inputs(): readonly string[] {
    return [...new Set([this.file, ...this.filesOf.bundle, ...this.filesOf.lastBuild])];
  }

  /** With a checkpoint; for good. */
  async stop(): Promise<void> {
    this.closed = true;
    this.overtake();
    await this.pauseRun();
  }

  private async pauseRun(): Promise<void> {
    const pipeline = this.end("stop");
    const late = this.around.clock.after(stopMsMax, () => {
      this.around.logger.warn("pipeline did not stop in time; its thread is ended, its last checkpoint counts", { pipeline: this.name });
      void this.current?.terminate();
    });
    await pipeline;
    late.cancel();
  }

  /** Takes in what is there, fires the last watermark, commits. Rejects if the pipeline has failed. */
  async drain(): Promise<void> {
    this.closed = true;
    this.overtake();
    await this.end("drain");
    if (this.state !== "drained")
      throw (
        this.error ??
        new MillraceError("PIPELINE_NOT_DRAINED", `the pipeline '${this.name}' was not running`, {
          domain: "user",
          hint: "Nothing of it was lost: it goes on from its last checkpoint when the node starts again.",
        })
      );
  }

  /** Whether a build gives something else, be it an error, than the last one gave. */
  async buildsOtherwise(): Promise<boolean> {
    const before = this.lastBuild;
    await this.build().catch(() => undefined);
    return this.lastBuild !== before;
  }

  /**
   * Builds the file again; if that gives another pipeline that loads, it takes the place of the running one. "failed": it loads, and fails when
   * it runs.
   */
  async reload(): Promise<"same" | "replaced" | "failed" | "overtaken"> {
    const { overtakings } = this;
    const bundle = await this.build();
    if (bundle === this.bundle && this.state === "running") return "same";
    if (this.overtakings !== overtakings || !(await this.loads(bundle)) || this.closed) return "overtaken";
    await this.pauseRun();
    if (this.closed) return "overtaken";
    this.use(bundle);
    this.ending = undefined;
    this.error = undefined;
    this.pauseMs = restartMsMin;
    await this.start();
    return this.status().state === "failed" ? "failed" : "replaced";
  }

  /** What a reload builds or loads, maybe for ever, is not waited for any more: its file was saved again, or the node ends. */
  overtake(): void {
    this.overtakings++;
    void this.loading?.terminate();
  }

  /** Rejects with what is wrong with it. False: it was overtaken. */
  private async loads(bundle: string): Promise<boolean> {
    const { overtakings } = this;
    this.loading = onlyLoading(this.file, bundle, this.around.logger);
    try {
      await this.loading.loaded;
    } catch (error) {
      if (this.overtakings === overtakings) throw error;
    } finally {
      await this.loading.terminate();
      this.loading = undefined;
    }
    return this.overtakings === overtakings;
  }

  private end(how: "stop" | "drain"): Promise<void> {
    this.ending = how;
    if (this.state === "running") this.state = "stopping";
    if (how === "stop") this.current?.stop();
    else this.current?.drain();
    this.wakeUp?.();
    return this.ended;
  }

  private async keepRunning(firstAttemptOver: () => void): Promise<void> {
    while (this.ending === undefined) {
      const since = this.around.clock.monotonicMs();
      try {
        this.state = await this.runOnce(firstAttemptOver);
        return;
      } catch (error) {
        this.error = toMillraceError(error, "PIPELINE_FAILED", "the pipeline failed", { domain: "user", where: this.file });
      }
      firstAttemptOver();
      if (!this.error.retryable || this.ending !== undefined) {
        this.state = "failed";
        this.around.logger.error("pipeline failed", { pipeline: this.name ?? this.file, error: this.error });
        return;
      }
      if (this.around.clock.monotonicMs() - since > healthyMs) this.pauseMs = restartMsMin;
      this.state = "restarting";
      this.restarts++;
      this.around.logger.warn("pipeline starts again", { pipeline: this.name, inMs: this.pauseMs, error: this.error });
      await this.pause();
    }
    this.state = "stopped";
  }

  private async runOnce(running: () => void): Promise<"stopped" | "drained"> {
    const { logger, run } = this.around;
    const { bundle: built } = this;
    const bundle = built !== undefined && existsSync(built) ? built : this.use(await this.build());
    const current = new PipelineRun({ source: this.file, bundle, logger, run });
    this.current = current;
    try {
      this.name = await current.loaded;
      if (!this.around.claim(this.name, this)) throw nameTaken(this.name, this.file);
      if (this.ending === "stop") return "stopped";
      current.go();
      if (this.ending === "drain") current.drain();
      else this.state = "running";
      running();
      return await current.done;
    } finally {
      this.lastTask = current.status ?? this.lastTask;
      this.current = undefined;
      await current.terminate();
    }
  }

  private async build(): Promise<string> {
    const read = new Set<string>();
    try {
      this.lastBuild = await bundlePipeline(this.file, this.around.bundleDirectory, read);
      return this.lastBuild;
    } catch (error) {
      // of the system's errors the code: the text names another temporary file each time
      this.lastBuild = error instanceof MillraceError ? error.toText() : String((error as NodeJS.ErrnoException).code ?? error);
      throw error;
    } finally {
      this.filesOf.lastBuild = read;
    }
  }

  /** After its build. */
  private use(bundle: string): string {
    this.bundle = bundle;
    this.filesOf.bundle = this.filesOf.lastBuild;
    return bundle;
  }

  private async pause(): Promise<void> {
    let timer: Timer | undefined;
    await new Promise<void>((resolve) => {
      this.wakeUp = resolve;
      timer = this.around.clock.after(this.pauseMs, resolve);
    });
    timer?.cancel();
    this.wakeUp = undefined;
    this.pauseMs = Math.min(this.pauseMs * 2, restartMsMax);
  }
}

/** Loads a bundle in a thread of its own, connects its streams and gives its pipeline's name; rejects with what is wrong with it. */
export async function loadOnly(source: string, bundle: string, logger: Logger): Promise<string> {
  const loading = onlyLoading(source, bundle, logger);
  try {
    return await loading.loaded;
  } finally {
    await loading.terminate();
  }
}

const onlyLoading = (source: string, bundle: string, logger: Logger): PipelineRun =>
  new PipelineRun({ source, bundle, logger, run: undefined });

export const nameTaken = (name: string, file: string): MillraceError =>
  new MillraceError("PIPELINE_NAME_TAKEN", `another pipeline is named '${name}'`, {
    domain: "user",
    where: file,
    hint: "The name is what its checkpoints and topics are kept under: give each pipeline its own.",
  });
