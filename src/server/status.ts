/** What a node says of itself: over the API as it is, over the control socket as JSON. */
import type { BrokerStatus } from "../broker/contract.ts";
import type { TaskStatus } from "../stream/contract/host.ts";
import type { ErrorParts } from "./errorTransfer.ts";
import type { PipelineState } from "./pipelineHost.ts";

export interface NodeStatus {
  readonly version: string;
  readonly pid: number;
  readonly data: string;
  readonly state: "running" | "draining" | "stopping" | "stopped";
  readonly addresses: { readonly amqp: string };
  readonly connections: number;
  readonly broker: BrokerStatus;
  /** Topics that no client declared: those that pipelines write. */
  readonly pipelineTopics: readonly { readonly name: string; readonly partitions: readonly { readonly endOffset: number }[] }[];
  /** Partitions that take nothing now. */
  readonly refusing: {
    readonly count: number;
    /** The first ones, and why. */
    readonly first: readonly (ErrorParts & { readonly partition: string })[];
  };
  readonly pipelines: readonly {
    /** The file's path until the name is known. */
    readonly name: string;
    readonly file: string;
    readonly state: PipelineState;
    readonly restarts: number;
    readonly error: ErrorParts | undefined;
    /** As the pipeline's thread said it last, at most about a quarter of a second ago unless it is busy in user code. */
    readonly task: TaskStatus | undefined;
  }[];
}
