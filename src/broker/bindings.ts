/** Who is bound to whom: found by source when routing, by destination when that is deleted. */
import { argumentsKey } from "./arguments.ts";
import type { Arguments } from "./contract.ts";

export type DestinationKind = "queue" | "exchange";

export interface Binding {
  readonly source: string;
  readonly kind: DestinationKind;
  readonly destination: string;
  readonly routingKey: string;
  readonly arguments: Arguments;
}

/** Two bindings with the same key are one. */
export const bindingKey = (binding: Binding): string =>
  JSON.stringify([binding.source, binding.kind, binding.destination, binding.routingKey, argumentsKey(binding.arguments)]);

export class Bindings {
  private readonly byKey = new Map<string, Binding>();
  private readonly bySource = new Map<string, Map<string, Binding>>();
  private readonly byDestination = new Map<string, Map<string, Binding>>();

  get size(): number {
    return this.byKey.size;
  }

  get(key: string): Binding | undefined {
    return this.byKey.get(key);
  }

  add(binding: Binding): void {
    const key = bindingKey(binding);
    this.byKey.set(key, binding);
    inner(this.bySource, binding.source).set(key, binding);
    inner(this.byDestination, destinationName(binding)).set(key, binding);
  }

  delete(binding: Binding): void {
    const key = bindingKey(binding);
    this.byKey.delete(key);
    remove(this.bySource, binding.source, key);
    remove(this.byDestination, destinationName(binding), key);
  }

  from(source: string): Binding[] {
    return [...(this.bySource.get(source)?.values() ?? [])];
  }

  countFrom(source: string): number {
    return this.bySource.get(source)?.size ?? 0;
  }

  to(kind: DestinationKind, destination: string): Binding[] {
    return [...(this.byDestination.get(destinationName({ kind, destination }))?.values() ?? [])];
  }
}

const destinationName = (of: Pick<Binding, "kind" | "destination">): string => `${of.kind} ${of.destination}`;

function inner(of: Map<string, Map<string, Binding>>, name: string): Map<string, Binding> {
  let found = of.get(name);
  if (found === undefined) of.set(name, (found = new Map()));
  return found;
}

function remove(of: Map<string, Map<string, Binding>>, name: string, key: string): void {
  const found = of.get(name);
  found?.delete(key);
  if (found?.size === 0) of.delete(name);
}
