import { MillraceError } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import { buildError } from "./buildError.ts";
import { type Firing, RecordContext } from "./context.ts";
import type { EngineNode, Stateful } from "./node.ts";

/** What stopped a push: the emission that did it, so that a replay can leave it out. */
export interface Failure {
  readonly error: unknown;
  /** The engine operator in front of which, or in which, it was thrown. */
  readonly operator: string;
  /** The window's row that was on its way; undefined: it was the record. */
  readonly firing: Firing | undefined;
}

/** Where rows and records go that can't be processed. */
export interface DeadLetters {
  row(row: unknown, reason: string, message: string, operator: string): void;
}

/**
 * The nodes of one incarnation of a pipeline, their order, and the time that they have reached. A failed push leaves operators torn down
 * and state half changed: the incarnation is then thrown away and built again from the last checkpoint.
 */
export class Graph {
  readonly context = new RecordContext();
  /** Topological: a node is appended when everything above it is. */
  readonly nodes: EngineNode[] = [];
  readonly stateful = new Map<string, Stateful>();
  /** Of the last full pass: nodes that a running pass has not reached yet are still at `previousWatermark`. */
  watermark = Number.NEGATIVE_INFINITY;
  late = 0;
  /** A user's callback threw. */
  failure: Failure | undefined;
  /** The task can't go on. */
  fatal: MillraceError | undefined;
  deadLetters: DeadLetters | undefined;
  /** Emissions of windows that failed before and are left out. */
  skipsFiring: ((operator: string, windowStart: number, keyId: unknown, row: unknown) => boolean) | undefined;

  private previousWatermark = Number.NEGATIVE_INFINITY;
  private reached = Number.POSITIVE_INFINITY;
  private readonly connecting: EngineNode[] = [];
  private readonly counts = new Map<string, number>();

  constructor(
    readonly pipeline: string,
    readonly logger: Logger,
  ) {}

  get broken(): boolean {
    return this.failure !== undefined || this.fatal !== undefined;
  }

  fail(error: unknown, operator: string): void {
    if (error instanceof MillraceError && error.domain === "internal") this.halt(error);
    else this.failure ??= { error, operator, firing: this.context.firing };
  }

  halt(error: MillraceError): void {
    this.fatal ??= error;
  }

  /** The id of a stateful operator: given, or its kind and place among those of its kind. */
  idOf(kind: string, given: string | undefined): string {
    if (given !== undefined) return given;
    const place = (this.counts.get(kind) ?? 0) + 1;
    this.counts.set(kind, place);
    return `${kind}-${place}`;
  }

  get isConnecting(): boolean {
    return this.connecting.length > 0;
  }

  /** The node that is subscribing gets `above` as an upstream. */
  link(above: EngineNode): void {
    this.connecting.at(-1)?.upstreams.add(above);
    this.connect(above);
  }

  /**
   * Once a node. Whatever can push into a node is connected before or within its own connecting, also behind a share() that hides
   * it, so that the order in which connecting ends is topological.
   */
  connect(node: EngineNode): void {
    if (node.place >= 0) return;
    if (this.connecting.includes(node)) {
      throw buildError("PIPELINE_CYCLE", `'${node.label}' is fed by its own results.`, "Send them to a topic and read it as a source.");
    }
    this.connecting.push(node);
    try {
      node.attach();
    } finally {
      this.connecting.pop();
    }
    node.place = this.nodes.length;
    this.nodes.push(node);
    if (node.stateful !== undefined) this.register(node.stateful);
  }

  /** The time that a node has reached: below the running pass's front it is still the one before. */
  watermarkAt(node: EngineNode): number {
    return node.place <= this.reached ? this.watermark : this.previousWatermark;
  }

  advance(watermark: number): void {
    if (watermark <= this.watermark) return;
    this.previousWatermark = this.watermark;
    this.watermark = watermark;
    if (!this.nodes.some((node) => node.nextTimer <= watermark)) return;
    // rows that a window emits in this pass set timers further down: no node is left out
    for (const node of this.nodes) {
      this.reached = node.place;
      if (node.nextTimer <= watermark) node.onWatermark(watermark);
      if (this.broken) return;
    }
    this.reached = Number.POSITIVE_INFINITY;
  }

  private register(stateful: Stateful): void {
    if (this.stateful.has(stateful.id)) {
      throw buildError("DUPLICATE_ID", `Two parts of the pipeline have the id '${stateful.id}'.`, "Give one of them another { id }.");
    }
    this.stateful.set(stateful.id, stateful);
  }
}
