/** Where the rows of a tested pipeline go: kept in memory with a sink's exactly-once, whatever connector the pipeline names. */
import type { Json } from "../../log/contract/keyedStore.ts";
import type { Handle, SinkContext, SinkWriter } from "../contract/sink.ts";

interface Captured {
  /** Snapshotted and not yet committed, by handle; what a connector has under a temporary name. */
  readonly pending: Map<number, readonly unknown[]>;
  readonly committed: unknown[];
}

/** Outlives the crashes of a tested pipeline, as a disk does. */
export class CaptureStore {
  private readonly sinks = new Map<string, Captured>();

  rows(id: string): readonly unknown[] {
    return this.of(id).committed;
  }

  get ids(): readonly string[] {
    return [...this.sinks.keys()];
  }

  open(context: SinkContext): SinkWriter {
    return new CaptureWriter(this.of(context.id));
  }

  private of(id: string): Captured {
    let captured = this.sinks.get(id);
    if (captured === undefined) {
      captured = { pending: new Map(), committed: [] };
      this.sinks.set(id, captured);
    }
    return captured;
  }
}

class CaptureWriter implements SinkWriter {
  private written: unknown[] = [];

  constructor(private readonly captured: Captured) {}

  write(row: unknown): void {
    // a copy: what user code does to the object afterwards would not reach a file either
    this.written.push(structuredClone(row));
  }

  async drained(): Promise<void> {
    // memory takes everything
  }

  async snapshot(epoch: number): Promise<{ pending: readonly Handle[]; resume: Json }> {
    if (this.written.length === 0) return { pending: [], resume: null };
    this.captured.pending.set(epoch, this.written);
    this.written = [];
    return { pending: [{ epoch }], resume: null };
  }

  async commit(handle: Handle): Promise<void> {
    const epoch = handle.epoch as number;
    this.captured.committed.push(...(this.captured.pending.get(epoch) ?? []));
    this.captured.pending.delete(epoch);
  }

  async committed(): Promise<void> {
    // visible at once
  }

  async close(): Promise<void> {
    this.written = [];
  }
}
