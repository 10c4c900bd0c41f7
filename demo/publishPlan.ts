import type { Random } from "../src/base/random.ts";

export interface PublishPlanOptions {
  /** Event time by id, ms, never decreasing. */
  readonly dates: Float64Array;
  readonly count: number;
  /** The newest published flight is less than this ahead of the oldest one that is not confirmed. */
  readonly disorderMs: number;
  /** In id order; each is published only when the cursor is `heldBackMs` past its date. */
  readonly heldBack: readonly number[];
  readonly heldBackMs: number;
}

const Status = { waiting: 0, inFlight: 1, lost: 2, confirmed: 3 } as const;

/**
 * Which flight is published next, over all connections. No sockets: told what was confirmed and what was lost.
 *
 * Three queues in this order: what was lost with a connection (before anything newer, so that it can't become late), what was held back
 * and is due, and the cursor. The cursor stops where the disorder would pass its bound.
 */
export class PublishPlan {
  /** Held back by main until a kill has happened; nothing from here on is published. */
  limit: number;
  private readonly status: Uint8Array;
  private readonly isHeldBack: Uint8Array;
  private cursor = 0;
  private oldestOpen = 0;
  private nextHeldBack = 0;
  private newestDate = Number.NEGATIVE_INFINITY;
  private lostIds: number[] = [];
  private confirmedCount = 0;

  constructor(private readonly options: PublishPlanOptions) {
    this.limit = options.count;
    this.status = new Uint8Array(options.count);
    this.isHeldBack = new Uint8Array(options.count);
    for (const id of options.heldBack) this.isHeldBack[id] = 1;
  }

  get confirmed(): number {
    return this.confirmedCount;
  }

  /** How far the cursor is: an id, not a count. */
  get position(): number {
    return this.cursor;
  }

  get done(): boolean {
    return this.confirmedCount === this.options.count;
  }

  /** The next flight to be published, now in flight; undefined while a bound or the limit holds it. */
  next(): number | undefined {
    const id = this.lostIds.pop() ?? this.dueHeldBack() ?? this.advance();
    if (id !== undefined) this.status[id] = Status.inFlight;
    return id;
  }

  confirm(id: number): void {
    if (this.status[id] === Status.confirmed) return;
    this.status[id] = Status.confirmed;
    this.confirmedCount++;
  }

  /** The connection that carried them is gone: whether they arrived is unknown, so they are published again. */
  lose(ids: Iterable<number>): void {
    for (const id of ids) {
      if (this.status[id] !== Status.inFlight) continue;
      this.status[id] = Status.lost;
      this.lostIds.push(id);
    }
    this.lostIds.sort((a, b) => b - a); // popped from the end: the oldest first
  }

  private dueHeldBack(): number | undefined {
    const id = this.options.heldBack[this.nextHeldBack];
    if (id === undefined || this.newestDate < this.dateOf(id) + this.options.heldBackMs) return undefined;
    this.nextHeldBack++;
    return id;
  }

  private advance(): number | undefined {
    while (this.cursor < this.options.count && this.isHeldBack[this.cursor] === 1) this.cursor++;
    if (this.cursor >= this.options.count || this.cursor >= this.limit) return undefined;
    while (this.oldestOpen < this.cursor && (this.status[this.oldestOpen] === Status.confirmed || this.isHeldBack[this.oldestOpen] === 1)) {
      this.oldestOpen++;
    }
    const date = this.dateOf(this.cursor);
    if (date - this.dateOf(this.oldestOpen) >= this.options.disorderMs) return undefined;
    this.newestDate = date;
    return this.cursor++;
  }

  private dateOf(id: number): number {
    return this.options.dates[id] as number;
  }
}

/** About one flight in `oneIn`, of those whose due date lies before the last flight's. */
export function chooseHeldBack(
  dates: Float64Array,
  count: number,
  options: { readonly oneIn: number; readonly heldBackMs: number; readonly random: Random },
): number[] {
  const lastDate = dates[count - 1] ?? Number.NEGATIVE_INFINITY;
  const chosen: number[] = [];
  // one draw a flight, so that the choice for the first N is the same whatever N is
  for (let id = 0; id < count - 1; id++) {
    const drawn = options.random.below(options.oneIn) === 0;
    if (drawn && (dates[id] as number) + options.heldBackMs < lastDate) chosen.push(id);
  }
  return chosen;
}
