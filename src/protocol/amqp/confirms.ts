import type { MillraceError } from "../../base/errors.ts";
import { Receipt } from "../../record/receipt.ts";
import { settleFrameBytes, settleMethod, writeSettle } from "./codec/hotMethods.ts";
import type { Output } from "./output.ts";

/** The publishes of one turn: tags up to `last`, from where the range before it ended. */
interface Range {
  last: number;
  state: "waiting" | "durable" | "failed";
}

/**
 * Publisher confirms of one channel. Ranges are settled in any order and confirmed in that of their tags: a multiple confirm
 * never passes a tag that is not durable. A range that failed is refused exactly, with everything before it confirmed.
 */
export class Confirms {
  private lastTag = 0;
  private confirmed = 0;
  private ranges: Range[] = [];
  private open: { readonly range: Range; readonly receipt: Receipt } | undefined;

  constructor(
    private readonly channel: number,
    private readonly output: Pick<Output, "reserve" | "bytes">,
    /** Something may be confirmed at the end of this turn. */
    private readonly changed: () => void,
    private readonly failed: (failure: MillraceError) => void,
  ) {}

  get pending(): boolean {
    return this.ranges.length > 0;
  }

  /** The receipt for the next publish of this turn. */
  next(): Receipt {
    this.lastTag++;
    this.open ??= this.begin();
    this.open.range.last = this.lastTag;
    return this.open.receipt;
  }

  /** The publish for which `next` was called last was not taken: refused, apart from those before it. */
  refuseLast(): void {
    const { open, lastTag } = this;
    if (open === undefined) return;
    const previous = this.ranges.at(-2)?.last ?? this.confirmed;
    open.range.last = lastTag - 1;
    if (open.range.last === previous) this.ranges.pop();
    this.sealTurn();
    this.ranges.push({ last: lastTag, state: "failed" });
    this.changed();
  }

  sealTurn(): void {
    const { open } = this;
    this.open = undefined;
    open?.receipt.seal();
  }

  /** Writes what can be said now, in as few frames as possible. */
  flush(): void {
    let settled = 0;
    for (; settled < this.ranges.length; settled++) {
      const range = this.ranges[settled] as Range;
      if (range.state === "waiting") break;
      const next = this.ranges[settled + 1];
      if (range.state === "durable" && next?.state === "durable") continue;
      this.write(range.state === "durable" ? settleMethod.ack : settleMethod.nack, range.last);
    }
    if (settled > 0) this.ranges.splice(0, settled);
  }

  private begin(): { readonly range: Range; readonly receipt: Receipt } {
    const range: Range = { last: this.lastTag, state: "waiting" };
    this.ranges.push(range);
    const receipt = new Receipt((failure) => {
      range.state = failure === undefined ? "durable" : "failed";
      if (failure !== undefined) this.failed(failure);
      this.changed();
    });
    this.changed();
    return { range, receipt };
  }

  private write(method: number, tag: number): void {
    const multiple = tag - this.confirmed > 1;
    const at = this.output.reserve(settleFrameBytes);
    writeSettle(this.output.bytes, at, this.channel, method, tag, multiple);
    this.confirmed = tag;
  }
}
