import { expect, test } from "vitest";
import { Random } from "../../src/base/random.ts";
import { ContentCacheLimits } from "../../src/broker/contentCache.ts";
import { ReadyMessages } from "../../src/broker/readyMessages.ts";
import type { KeptCopy, KeptRun, OffsetRange } from "../../src/log/contract/queueJournal.ts";
import { turns } from "./node.ts";

/** What the journal would have: copies by their offsets, unacknowledged ones too. */
class FakeRun implements KeptRun {
  readonly queue = 1;
  retired = false;

  constructor(
    readonly copies: Map<number, number>,
    private readonly random: Random,
  ) {}

  get firstOffset(): number {
    return Math.min(...this.copies.keys());
  }

  get lastOffset(): number {
    return Math.max(...this.copies.keys());
  }

  get live(): number {
    return this.copies.size;
  }

  async load({ from, to }: OffsetRange, most: number): Promise<readonly KeptCopy[]> {
    await turns(this.random.below(6));
    if (this.retired) throw new Error("the segment is not there any more");
    const offsets = [...this.copies.keys()].filter((offset) => offset >= from && offset <= to).sort((a, b) => a - b);
    const copies = offsets.slice(0, most).map((offset) => ({
      offset,
      position: this.copies.get(offset) as number,
      contentBytes: offset % 1000,
      persistent: offset % 3 > 0,
    }));
    await turns(this.random.below(6));
    return copies;
  }

  async release(): Promise<void> {
    throw new Error("not in this test");
  }
}

/** Ready messages of one queue, what is true of them, and the runs that write-behind makes and rewrites meanwhile. */
class Life {
  readonly met = { stretched: 0, merged: 0, staleFetches: 0, fetched: 0 };
  private readonly random: Random;
  private readonly ready: ReadyMessages;
  /** Ready ones in order, and where they are. */
  private readonly model = new Map<number, number>();
  private readonly unacked: { offset: number; position: number }[] = [];
  private runs: FakeRun[] = [];
  private nextOffset = 0;
  private nextPosition = 1;

  constructor(seed: number) {
    this.random = new Random(seed);
    const limits = { fetchedFirst: 1 + this.random.below(4), fetchedMax: 8, stretchMin: 1 + this.random.below(3) };
    this.ready = new ReadyMessages(new ContentCacheLimits(1000, 1000), limits, true);
  }

  async live(steps: number): Promise<void> {
    const operations = [
      () => this.push(),
      () => this.push(),
      () => this.moveToRun(),
      () => this.merge(),
      () => this.take(),
      () => this.take(),
      () => this.startFetch(),
      () => this.requeue(),
      () => this.delete(),
      () => turns(this.random.below(5)),
    ];
    for (let step = 0; step < steps; step++) {
      await this.random.pick(operations)();
      expect(this.ready.length).toBe(this.model.size);
      const near = Array.from(this.ready.near(), ({ offset, position }) => [offset, position]);
      expect(near).toEqual(this.inOrder().slice(0, near.length));
    }
    while (this.model.size > 0) await this.take();
    expect(this.ready.length).toBe(0);
  }

  private inOrder(): [number, number][] {
    return [...this.model].sort(([a], [b]) => a - b);
  }

  private push(): void {
    for (let count = this.random.below(12); count > 0; count--) {
      this.nextOffset += this.random.below(4) === 0 ? 3 : 1;
      const offset = this.nextOffset;
      const content =
        this.random.below(10) === 0 ? { address: Buffer.of(), contentFormat: 1 as const, content: Buffer.from("x") } : undefined;
      this.ready.push(offset, this.nextPosition, offset % 1000, offset % 3 > 0, content);
      this.model.set(offset, this.nextPosition++);
    }
  }

  /** What the oldest file of the journal has. */
  private moveToRun(): void {
    const all = [...this.inOrder(), ...this.unacked.map(({ offset, position }) => [offset, position] as [number, number])];
    const inFiles = all.filter(([, position]) => position > 0).sort(([a], [b]) => a - b);
    const moving = inFiles.slice(0, this.random.below(15));
    if (moving.length === 0) return;
    const copies = new Map(moving.map(([offset]) => [offset, -this.nextPosition++]));
    const run = new FakeRun(copies, this.random);
    for (const [offset, to] of copies) this.move(offset, to);
    const before = [...this.ready.runParts()].length;
    this.ready.stretch(run);
    if ([...this.ready.runParts()].length > before) this.met.stretched++;
    this.runs.push(run);
  }

  private move(offset: number, to: number): void {
    const held = this.unacked.find((one) => one.offset === offset);
    if (held !== undefined) held.position = to;
    else expect(this.ready.move(offset, to)).toBe(true);
    if (this.model.has(offset)) this.model.set(offset, to);
  }

  private merge(): void {
    const begin = this.random.below(this.runs.length + 1);
    const olds = this.runs.slice(begin, begin + 1 + this.random.below(3));
    const offsets = olds.flatMap((run) => [...run.copies.keys()]).filter((offset) => this.isHeld(offset));
    if (offsets.length === 0) return;
    const run = new FakeRun(new Map(offsets.map((offset) => [offset, -this.nextPosition++])), this.random);
    const ranges = this.ready.runMoved(run, olds);
    if (ranges.length > 0) this.met.merged++;
    for (const [offset, to] of run.copies) {
      if (!ranges.some(({ from, to: last }) => offset >= from && offset <= last)) this.move(offset, to);
      else this.model.set(offset, to);
    }
    for (const old of olds) old.retired = true;
    this.runs.splice(begin, olds.length, run);
  }

  private isHeld(offset: number): boolean {
    return this.model.has(offset) || this.unacked.some((one) => one.offset === offset);
  }

  private async take(): Promise<void> {
    for (let fetches = 0; this.ready.length > 0 && this.ready.first() === undefined; fetches++) {
      expect(fetches).toBeLessThan(1000);
      const parts = [...this.ready.runParts()];
      await this.ready.fetch();
      this.met[this.ready.first() === undefined && parts.length > 0 ? "staleFetches" : "fetched"]++;
    }
    const [first] = this.inOrder();
    expect(this.ready.first()?.offset).toBe(first?.[0]);
    if (first === undefined) return;
    const { offset, position, durable, bytes } = this.ready.takeFirst();
    expect([offset, position, durable, bytes]).toEqual([...first, offset % 3 > 0, offset % 1000]);
    this.model.delete(offset);
    if (this.random.below(2) === 0) this.unacked.push({ offset, position });
  }

  /** And something happens while it is under way. */
  private startFetch(): void {
    this.ready.fetch()?.catch((error: unknown) => expect.fail(String(error)));
    if (this.random.below(2) === 0) this.merge();
  }

  private requeue(): void {
    const [one] = this.unacked.splice(this.random.below(this.unacked.length + 1), 1);
    if (one === undefined) return;
    const { offset, position } = one;
    this.ready.requeue({ offset, position, bytes: offset % 1000, durable: offset % 3 > 0, redelivered: true, content: undefined });
    this.model.set(offset, position);
  }

  private delete(): void {
    const near = Array.from(this.ready.near(), ({ offset }) => offset);
    if (near.length === 0 || this.random.below(2) === 0) return;
    const offset = this.random.pick(near);
    if (this.ready.delete(offset) !== undefined) this.model.delete(offset);
    for (const run of this.runs) if (!this.isHeld(offset)) run.copies.delete(offset);
    this.runs = this.runs.filter((run) => run.copies.size > 0);
  }
}

test("messages come in order from memory and from runs, while runs are made, rewritten and fetched at random, beside a list", async () => {
  const met = { stretched: 0, merged: 0, staleFetches: 0, fetched: 0 };
  for (let seed = 1; seed <= 30; seed++) {
    const life = new Life(seed);
    await life.live(120).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
    for (const what of Object.keys(met) as (keyof typeof met)[]) met[what] += life.met[what];
  }
  for (const [what, times] of Object.entries(met)) expect(times, what).toBeGreaterThan(0);
});
