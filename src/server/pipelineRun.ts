/** One worker thread that runs one pipeline, once: from loading its bundle to its end. */
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { MillraceError, toMillraceError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { TaskOptions, TaskStatus } from "../stream/contract/host.ts";
import { fromParts } from "./errorTransfer.ts";
import type { FromWorker, ToWorker, WorkerStart } from "./pipelineMessages.ts";

export interface RunOptions {
  readonly source: string;
  readonly bundle: string;
  readonly logger: Logger;
  /** undefined: only load it. */
  readonly run:
    | {
        /** Serves the log on this end of a channel until the port closes. */
        readonly serveLog: (port: MessagePort) => void;
        readonly checkpointDirectory: string;
        readonly baseDirectory: string;
        readonly options: TaskOptions;
        readonly statusIntervalMs: number;
        readonly crashAt: string | undefined;
      }
    | undefined;
}

export class PipelineRun {
  /** The pipeline's name; rejects if the file holds none. */
  readonly loaded: Promise<string>;
  /** How it ended; rejects with why it failed. */
  readonly done: Promise<"stopped" | "drained">;
  private readonly worker: Worker;
  private readonly channel: MessageChannel | undefined;
  private latest: TaskStatus | undefined;
  private settleLoaded!: { resolve: (name: string) => void; reject: (error: MillraceError) => void };
  private settleDone!: { resolve: (how: "stopped" | "drained") => void; reject: (error: MillraceError) => void };

  constructor(private readonly options: RunOptions) {
    this.loaded = new Promise((resolve, reject) => {
      this.settleLoaded = { resolve, reject };
    });
    this.done = new Promise((resolve, reject) => {
      this.settleDone = { resolve, reject };
    });
    // whoever waits for one of them hears of the failure; the other must not count as unhandled
    this.loaded.catch(() => undefined);
    this.done.catch(() => undefined);

    const { run } = options;
    this.channel = run === undefined ? undefined : new MessageChannel();
    if (this.channel !== undefined) run?.serveLog(this.channel.port1);
    const start: WorkerStart = {
      source: options.source,
      bundle: options.bundle,
      run:
        run === undefined
          ? undefined
          : {
              log: this.channel?.port2 as MessagePort,
              checkpointDirectory: run.checkpointDirectory,
              baseDirectory: run.baseDirectory,
              options: run.options,
              statusIntervalMs: run.statusIntervalMs,
              crashAt: run.crashAt,
            },
    };
    this.worker = new Worker(new URL("./pipelineWorker.js", import.meta.url), {
      workerData: start,
      transferList: this.channel === undefined ? [] : [this.channel.port2],
      name: "pipeline",
    });
    this.worker.on("message", (message: FromWorker) => this.heard(message));
    this.worker.on("error", (error) => this.failed(this.crashed(error)));
    this.worker.on("exit", (code) => this.exited(code));
  }

  get status(): TaskStatus | undefined {
    return this.latest;
  }

  /** Begins to run what was loaded. */
  go(): void {
    this.tell({ kind: "go" });
  }

  stop(): void {
    this.tell({ kind: "stop" });
  }

  drain(): void {
    this.tell({ kind: "drain" });
  }

  /** Ends the thread at once; what counts is the last checkpoint. */
  async terminate(): Promise<void> {
    await this.worker.terminate();
  }

  private tell(message: ToWorker): void {
    this.worker.postMessage(message);
  }

  private heard(message: FromWorker): void {
    switch (message.kind) {
      case "loaded":
        return this.settleLoaded.resolve(message.name);
      case "status":
        this.latest = message.status;
        return;
      case "log":
        return this.options.logger[message.level](message.message, message.fields);
      case "done":
        return this.settleDone.resolve(message.how);
      case "failed":
        return this.failed(fromParts(message.error));
    }
  }

  private crashed(error: unknown): MillraceError {
    return toMillraceError(error, "PIPELINE_CRASHED", "the pipeline's thread ended with an error that nothing caught", {
      domain: "user",
      retryable: true,
      where: this.options.source,
      hint: "It starts again from its last checkpoint.",
    });
  }

  private exited(code: number): void {
    this.channel?.port1.close();
    this.failed(
      new MillraceError("PIPELINE_EXITED", `the pipeline's thread ended by itself with code ${code}`, {
        domain: "user",
        retryable: true,
        where: this.options.source,
        hint: "A pipeline must not call process.exit.",
      }),
    );
  }

  /** Without effect where it has ended already. */
  private failed(error: MillraceError): void {
    this.settleLoaded.reject(error);
    this.settleDone.reject(error);
  }
}
