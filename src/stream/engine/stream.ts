/** The thin face between the engine's nodes and RxJS: nodes as Observables, Observables as inputs of nodes. */

import { Observable, type Subscriber } from "rxjs";
import { buildError } from "./buildError.ts";
import type { Graph } from "./graph.ts";
import type { EngineNode } from "./node.ts";

/** A node's values as a stream: shared by nature, however often it is used. Only the task's build may subscribe. */
export class EngineStream<T> extends Observable<T> {
  constructor(readonly node: EngineNode) {
    super((subscriber) => this.admit(subscriber));
  }

  private admit(subscriber: Subscriber<T>): (() => void) | undefined {
    const { graph } = this.node;
    if (!graph.isConnecting) {
      // not thrown: RxJS would report it later, out of anybody's reach; the build, or the running task, fails with it
      graph.halt(subscribeRefused(graph));
      return undefined;
    }
    graph.link(this.node);
    return this.node.listen((value) => subscriber.next(value as T));
  }
}

/** The pipeline that is being built; operators are applied within. */
let building: Graph | undefined;

export function whileBuilding(graph: Graph, build: () => void): void {
  const before = building;
  building = graph;
  try {
    build();
  } finally {
    building = before;
  }
}

export function graphInBuild(what: string): Graph {
  if (building !== undefined) return building;
  throw buildError(
    "OUTSIDE_PIPELINE",
    `${what} is applied outside of a pipeline.`,
    "Use it within the function given to pipeline(name, build).",
  );
}

/** Upstreams that were found behind an Observable: a second subscriber of the user's own share() triggers no subscription above it. */
const foundBehind = new WeakMap<object, Set<EngineNode>>();

/** Feeds a node from a stream. A stream of the engine itself is heard without RxJS between: 20 ns a value less. */
export function attach(node: EngineNode, source: Observable<unknown>): void {
  const { graph } = node;
  if (source instanceof EngineStream) {
    if (source.node.graph !== graph) throw foreignStream();
    graph.link(source.node);
    source.node.listen((value) => node.take(value));
    return;
  }
  source.subscribe({
    next: (value) => (graph.isConnecting ? graph.halt(emittedWhileBuilding(node)) : node.take(value)),
    error: (error) => graph.fail(error, node.label),
    complete: () => graph.logger.warn("A stream ended: what comes later does not reach this operator", { operator: node.label }),
  });
  if (graph.fatal !== undefined) throw graph.fatal;
  if (graph.failure !== undefined) throw graph.failure.error;
  traceBehind(node, source);
}

function traceBehind(node: EngineNode, source: Observable<unknown>): void {
  const chain: object[] = [];
  for (let at: Observable<unknown> | undefined = source; at !== undefined; at = at.source) {
    if (at instanceof EngineStream) node.upstreams.add(at.node);
    else chain.push(at);
    for (const found of foundBehind.get(at) ?? []) node.upstreams.add(found);
  }
  for (const part of chain) foundBehind.set(part, node.upstreams);
}

function subscribeRefused(graph: Graph) {
  return buildError(
    "SUBSCRIBE_REFUSED",
    `A stream of the pipeline '${graph.pipeline}' was subscribed to outside of the task's build.`,
    "There is no checkpoint behind a subscription: use tap() in the pipe, or sink(stream, ...).",
  );
}

function emittedWhileBuilding(node: EngineNode) {
  return buildError(
    "EMITTED_WHILE_BUILDING",
    `A value reached '${node.label}' while the pipeline was being built.`,
    "Operators that emit when they are subscribed to (startWith, of, defer) would do so again after each restart: put such rows into a topic.",
  );
}

function foreignStream() {
  return buildError(
    "FOREIGN_STREAM",
    "A stream of another pipeline, or of an earlier build of this one, is used.",
    "Make streams within the function given to pipeline(name, build), each time it is called.",
  );
}
