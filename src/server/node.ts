/** A running node: what it says of itself, and how it ends. `openNode` makes it. */
import type { Logger } from "../base/logger.ts";
import type { Broker, BrokerStatus } from "../broker/contract.ts";
import type { EmbeddedLog } from "../log/contract/embeddedLog.ts";
import type { AmqpListener } from "../protocol/amqp/listener.ts";
import type { Closers } from "./closers.ts";
import type { ControlRequest } from "./control.ts";
import { toParts } from "./errorTransfer.ts";
import { amqpAddress } from "./openListener.ts";
import type { Pipelines } from "./pipelines.ts";
import { refusingPartitions } from "./refusingPartitions.ts";
import type { NodeStatus } from "./status.ts";
import { version } from "./version.ts";

export interface NodeParts {
  readonly dataDirectory: string;
  readonly logger: Logger;
  readonly broker: Broker;
  readonly log: EmbeddedLog;
  readonly listener: AmqpListener;
  readonly pipelines: Pipelines;
  /** Broker, log and what they stand on. */
  readonly layers: Closers;
  /** Control socket and lock: what outlives the layers. */
  readonly frame: Closers;
}

export class Node implements AsyncDisposable {
  /** Resolves when the node has closed, whoever asked for it; rejects when closing, or a drain, failed. */
  readonly ended: Promise<void>;
  /** Where clients connect to: amqp://127.0.0.1:5672 */
  readonly addresses: { readonly amqp: string };
  private state: NodeStatus["state"] = "running";
  private closing: { readonly layers: Promise<void> } | undefined;
  private settleEnded!: { resolve: () => void; reject: (error: unknown) => void };

  constructor(private readonly parts: NodeParts) {
    this.addresses = { amqp: amqpAddress(parts.listener) };
    this.ended = new Promise((resolve, reject) => {
      this.settleEnded = { resolve, reject };
    });
    this.ended.catch(() => undefined); // whoever waits hears of it; nobody has to
  }

  get pipelines(): Pipelines {
    return this.parts.pipelines;
  }

  status(): NodeStatus {
    const { dataDirectory, broker, listener, pipelines } = this.parts;
    const brokerStatus = broker.status();
    return {
      version,
      pid: process.pid,
      data: dataDirectory,
      state: this.state,
      addresses: this.addresses,
      connections: listener.connections,
      broker: brokerStatus,
      pipelineTopics: this.topicsBesides(brokerStatus),
      refusing: refusingPartitions(this.parts.log),
      pipelines: pipelines.status().map(({ error, ...pipeline }) => ({
        ...pipeline,
        error: error === undefined ? undefined : toParts(error, error.code, error.message),
      })),
    };
  }

  private topicsBesides({ topics }: BrokerStatus): NodeStatus["pipelineTopics"] {
    const { log } = this.parts;
    const declared = new Set(topics.map(({ name }) => name));
    return log.topicNames().flatMap((name) => {
      const topic = declared.has(name) ? undefined : log.topic(name);
      if (topic === undefined) return [];
      const length = topic.description.config.partitions;
      return [{ name, partitions: Array.from({ length }, (_, partition) => ({ endOffset: topic.endOffset(partition) })) }];
    });
  }

  /** Confirms what is pending, lets every pipeline take a checkpoint, closes. */
  stop(): Promise<void> {
    this.close("stopping");
    return this.ended;
  }

  /** Takes no more publishes; every pipeline takes in what is there, fires its last windows and commits; then as `stop`. */
  drain(): Promise<void> {
    this.close("draining");
    return this.ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** For the control socket: the answer to a stop is there when all but the socket itself is closed. */
  async answer(request: ControlRequest): Promise<unknown> {
    if (request.command === "status") return this.status();
    await this.close(request.drain ? "draining" : "stopping").layers;
    return null;
  }

  /** The first call says how; later ones wait for the same end. */
  private close(how: "draining" | "stopping"): { readonly layers: Promise<void> } {
    if (this.closing !== undefined) return this.closing;
    this.state = how;
    this.parts.logger.info(how === "draining" ? "node drains" : "node stops");
    const layers = this.closeLayers(how);
    this.closing = { layers };
    layers.then(
      () => this.closeFrame(undefined),
      (error: unknown) => this.closeFrame({ error }),
    );
    return this.closing;
  }

  private async closeLayers(how: "draining" | "stopping"): Promise<void> {
    const { listener, pipelines, layers } = this.parts;
    layers.add("the pipelines", () => (how === "draining" ? pipelines.drain() : pipelines.stop()));
    layers.add("the AMQP listener", () => listener.close());
    await layers.closeAll();
  }

  private async closeFrame(failure: { readonly error: unknown } | undefined): Promise<void> {
    const { frame, logger } = this.parts;
    await new Promise((resolve) => setImmediate(resolve)); // the answer on the control socket goes out first
    this.state = "stopped";
    let failed = failure;
    await frame.closeAll().catch((error: unknown) => {
      failed ??= { error };
    });
    logger.info("node stopped");
    if (failed === undefined) this.settleEnded.resolve();
    else this.settleEnded.reject(failed.error);
  }
}
