import type { Json } from "../../log/contract/keyedStore.ts";
import type { KeySpec, WindowSpec } from "./context.ts";
import type { Graph } from "./graph.ts";

export type Fingerprint = { readonly [part: string]: Json };

/** What a node with an id keeps in the checkpoint. */
export interface Stateful {
  readonly id: string;
  fingerprint(): Fingerprint;
  snapshot(): Json;
  /** `before`: the fingerprint of the checkpoint, already found to fit. */
  restore(state: Json, before: Fingerprint): void;
}

type Listener = (value: unknown) => void;

/**
 * A place in the graph of a running pipeline. Values are pushed through synchronously; watermarks and snapshots reach the nodes from
 * outside, in topological order. Knows nothing of RxJS.
 */
export abstract class EngineNode {
  /** Engine nodes above this one, with stock operators between or not. */
  readonly upstreams = new Set<EngineNode>();
  /** In topological order; -1 until connected. */
  place = -1;
  /** The earliest time at which `onWatermark` has something to do. */
  nextTimer = Number.POSITIVE_INFINITY;
  readonly stateful: Stateful | undefined = undefined;
  private only: Listener | undefined;
  private listeners: readonly Listener[] = [];

  constructor(
    readonly graph: Graph,
    /** For people: "keyBy", "aggregate-1". */
    readonly label: string,
  ) {}

  /** Subscribes to what is above; called once, within the task's build. */
  abstract attach(): void;
  protected abstract receive(value: unknown): void;

  /** Fires what ends at or before `time`; the last call has +Infinity. */
  onWatermark(_time: number): void {
    // most operators have no timers
  }

  /** A user's callback that throws in here must not unwind into a stock operator, which would take it for its own. */
  take(value: unknown): void {
    if (this.graph.broken) return;
    try {
      this.receive(value);
    } catch (error) {
      this.graph.fail(error, this.label);
    }
  }

  listen(listener: Listener): () => void {
    this.setListeners([...this.listeners, listener]);
    return () => this.setListeners(this.listeners.filter((other) => other !== listener));
  }

  protected emit(value: unknown): void {
    if (this.only !== undefined) this.only(value);
    else for (const listener of this.listeners) listener(value);
  }

  /** What keys and windows the values that leave here; every way up must agree, as the types say. */
  get keySpec(): KeySpec | undefined {
    return firstOf(this.upstreams, (node) => node.keySpec);
  }

  get windowSpec(): WindowSpec | undefined {
    return firstOf(this.upstreams, (node) => node.windowSpec);
  }

  /** All properties that the values which leave here can have; undefined: nobody says so. */
  get properties(): readonly string[] | undefined {
    return undefined;
  }

  private setListeners(listeners: readonly Listener[]): void {
    this.listeners = listeners;
    this.only = listeners.length === 1 ? listeners[0] : undefined;
  }
}

function firstOf<T>(nodes: Iterable<EngineNode>, of: (node: EngineNode) => T | undefined): T | undefined {
  for (const node of nodes) {
    const found = of(node);
    if (found !== undefined) return found;
  }
  return undefined;
}
