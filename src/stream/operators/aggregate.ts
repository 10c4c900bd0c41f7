import type { Observable, OperatorFunction } from "rxjs";
import { EngineStream, graphInBuild } from "../engine/stream.ts";
import { AggregateNode } from "./aggregateNode.ts";
import type { Aggregate } from "./aggregates.ts";
import type { Bounds, NoClash, Show, Windowed } from "./types.ts";

type Aggregates<T> = Record<string, Aggregate<T, unknown>>;
type Results<A> = { [P in keyof A]: A[P] extends Aggregate<never, infer R> ? R : never };

/**
 * One row for each key and window, when the watermark passes the window's end: the key's columns, windowStart, windowEnd and the results.
 * Rows are final, ordered by window and key.
 */
export function aggregate<K, T, A extends Aggregates<T>>(
  results: A & NoClash<A, K>,
  options: { readonly id?: string } = {},
): OperatorFunction<Windowed<K, T>, Show<K & Bounds & Results<A>>> {
  const named = Object.entries(results as Aggregates<never>);
  return (source) => {
    const graph = graphInBuild("aggregate");
    const node = new AggregateNode(graph, source as Observable<unknown>, named, graph.idOf("aggregate", options.id));
    return new EngineStream<Show<K & Bounds & Results<A>>>(node);
  };
}
