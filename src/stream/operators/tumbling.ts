import type { Observable, OperatorFunction } from "rxjs";
import { buildError } from "../engine/buildError.ts";
import type { WindowSpec } from "../engine/context.ts";
import { EngineNode } from "../engine/node.ts";
import { attach, EngineStream, graphInBuild } from "../engine/stream.ts";
import { type Duration, durationMs } from "../time.ts";
import { outputNodeOf } from "./output.ts";
import type { Keyed, Output, Windowed } from "./types.ts";

export interface WindowOptions<T> {
  /** Where records go that come after their window has fired; without it they are only counted. */
  readonly late?: Output<T>;
  /** Windows begin at multiples of the size since 1970 UTC plus this. */
  readonly offset?: Duration;
}

/** Windows of one size that don't overlap, aligned to UTC. A record is late when its window's end is not after the watermark. */
export function tumbling<K, T>(size: Duration, options: WindowOptions<NoInfer<T>> = {}): OperatorFunction<Keyed<K, T>, Windowed<K, T>> {
  const sizeMs = durationMs(size, "tumbling's size");
  const offsetMs = durationMs(options.offset ?? 0, "tumbling's offset");
  if (sizeMs === 0) throw buildError("WINDOW_INVALID", "tumbling's size is 0.", 'Give it a length, as in tumbling("1 h").');
  if (offsetMs >= sizeMs) {
    throw buildError(
      "WINDOW_INVALID",
      "tumbling's offset is not less than its size.",
      "Windows repeat after one size: take the remainder.",
    );
  }
  return (source) =>
    new EngineStream(new TumblingNode(source, { kind: "tumbling", sizeMs, offsetMs }, options.late as Output<unknown> | undefined));
}

class TumblingNode extends EngineNode {
  private readonly late: ReturnType<typeof outputNodeOf> | undefined;

  constructor(
    private readonly source: Observable<unknown>,
    private readonly spec: WindowSpec,
    late: Output<unknown> | undefined,
  ) {
    super(graphInBuild("tumbling"), "tumbling");
    this.late = late === undefined ? undefined : outputNodeOf(late, this.graph);
    this.late?.fedBy(this);
  }

  override get windowSpec(): WindowSpec {
    return this.spec;
  }

  attach(): void {
    attach(this, this.source);
    if (this.keySpec === undefined)
      throw buildError("KEY_MISSING", "tumbling has no keyBy before it.", "Put keyBy(...) before the window.");
  }

  protected receive(value: unknown): void {
    const { context } = this.graph;
    const { sizeMs, offsetMs } = this.spec;
    const start = Math.floor((context.timestamp - offsetMs) / sizeMs) * sizeMs + offsetMs;
    if (start + sizeMs <= this.graph.watermarkAt(this)) {
      this.graph.late++;
      this.late?.take(value);
      return;
    }
    const { windowStart, windowEnd } = context;
    context.windowStart = start;
    context.windowEnd = start + sizeMs;
    this.emit(value);
    context.windowStart = windowStart;
    context.windowEnd = windowEnd;
  }
}
