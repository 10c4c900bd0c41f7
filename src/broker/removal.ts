import { type Binding, bindingKey } from "./bindings.ts";
import type { Topology, TopologyChange } from "./topology.ts";

/** What goes along when something goes: its bindings, and auto-delete exchanges that lose their last one. In the order to apply. */
export class Removal {
  readonly changes: TopologyChange[] = [];
  private readonly gone = new Set<string>();
  private readonly lost = new Map<string, number>();

  constructor(private readonly topology: Topology) {}

  queue(name: string): this {
    for (const binding of this.topology.bindings.to("queue", name)) this.binding(binding);
    this.changes.push({ kind: "queue", name, declared: undefined });
    return this;
  }

  exchange(name: string): this {
    if (this.gone.has(name)) return this;
    this.gone.add(name);
    const { bindings } = this.topology;
    for (const binding of [...bindings.from(name), ...bindings.to("exchange", name)]) this.binding(binding);
    this.changes.push({ kind: "exchange", name, options: undefined });
    return this;
  }

  binding(binding: Binding): this {
    const key = bindingKey(binding);
    if (this.gone.has(key)) return this;
    this.gone.add(key);
    this.changes.push({ kind: "binding", binding, present: false });
    const { source } = binding;
    const lost = (this.lost.get(source) ?? 0) + 1;
    this.lost.set(source, lost);
    const exchange = this.topology.exchanges.get(source);
    if (exchange?.options.autoDelete && lost === this.topology.bindings.countFrom(source)) this.exchange(source);
    return this;
  }
}
