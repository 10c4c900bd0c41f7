/** All pipelines of a node. */
import { toMillraceError } from "../base/errors.ts";
import { PipelineHost, type PipelineStatus, type PipelineSurroundings } from "./pipelineHost.ts";

export class Pipelines {
  private readonly names = new Map<string, PipelineHost>();
  readonly hosts: readonly PipelineHost[];

  constructor(files: readonly string[], around: Omit<PipelineSurroundings, "claim">) {
    const claim = (name: string, host: PipelineHost): boolean => {
      const holder = this.names.get(name) ?? host;
      if (holder === host) this.names.set(name, host);
      return holder === host;
    };
    this.hosts = files.map((file) => new PipelineHost(file, { ...around, claim }));
  }

  /** Resolves when each one runs or has failed to start. */
  async start(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.start()));
  }

  status(): PipelineStatus[] {
    return this.hosts.map((host) => host.status());
  }

  async stop(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.stop()));
  }

  /** Drains all of them, also when one fails; then rejects with the first failure. */
  async drain(): Promise<void> {
    const results = await Promise.allSettled(this.hosts.map((host) => host.drain()));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined)
      throw toMillraceError(failed.reason, "DRAIN_FAILED", "a pipeline could not be drained", { domain: "external" });
  }
}
