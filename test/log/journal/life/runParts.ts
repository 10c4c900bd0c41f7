import type { KeptRun, OffsetRange } from "../../../../src/log/contract/queueJournal.ts";
import { ordinalOf, serialOf } from "../../../../src/log/journal/segments/segment.ts";
import type { SegmentRun } from "../../../../src/log/journal/segments/segmentRun.ts";
import type { ModelMessage } from "../journalModel.ts";
import { copyOf, type LifeModel } from "./lifeModel.ts";

/** A run of which the model knows only that its live copies within the range are there. */
export interface Part {
  readonly run: KeptRun;
  readonly from: number;
  readonly to: number;
}

/** So often a copy may be looked for in vain: it was moved meanwhile, or the disk refused. */
const loadsMax = 10_000;

/** Of these copies a process knows no place, only the run. */
export class RunParts {
  private parts: Part[] = [];

  constructor(
    private readonly model: LifeModel,
    private readonly isOver: () => boolean,
  ) {}

  /** Of the copies in the run only the range is known from now on. */
  forgetPlaces(run: KeptRun, from: number, to: number): void {
    const { segment, begin, end } = run as SegmentRun;
    for (const { live } of this.model.messages) {
      for (const [key, position] of live) {
        const [queue, offset] = copyOf(key);
        if (queue !== run.queue || offset < from || offset > to || position === undefined || position >= 0) continue;
        if (serialOf(position) === segment.serial && ordinalOf(position) >= begin && ordinalOf(position) < end) live.set(key, undefined);
      }
    }
    this.parts.push({ run, from, to });
  }

  /** Where a copy is; fetched from its run if it is not known. Undefined: the copy went away meanwhile, or the process did. */
  async place(message: ModelMessage, key: string): Promise<number | undefined> {
    const [queue, offset] = copyOf(key);
    for (let loads = 0; loads < loadsMax; loads++) {
      if (this.isOver() || !message.live.has(key)) return undefined;
      const position = message.live.get(key);
      if (position !== undefined) return position;
      const part = this.parts.find(({ run, from, to }) => run.queue === queue && from <= offset && to >= offset);
      if (part === undefined) throw new Error(`copy ${key} is in no run`);
      const loaded = await part.run.load({ from: offset, to: offset }, 1 + this.model.random.below(2)).catch((error: unknown) => {
        if (this.parts.includes(part) && !this.model.faulty) throw error;
        return undefined; // it is in another segment by now, or the disk refused
      });
      if (loaded === undefined || !this.parts.includes(part) || this.isOver()) continue;
      if (loaded.length !== 1) throw new Error(`copy ${key} is not in its run`);
      this.remove(part);
      if (part.from < offset) this.parts.push({ ...part, to: offset - 1 });
      if (part.to > offset) this.parts.push({ ...part, from: offset + 1 });
      message.live.set(key, loaded[0]?.position);
      this.model.branches.saw("a copy fetched from a run, and gone before others of it", part.from < offset);
    }
    throw new Error(`copy ${key} was looked for ${loadsMax} times in vain`);
  }

  /** The journal speaks of a run: some of its copies are known as such from now on, or none. */
  stretch(run: KeptRun): void {
    const { random, messages } = this.model;
    const ofRun = messages.flatMap(({ live }) => [...live.keys()]).map(copyOf);
    const offsets = ofRun.flatMap(([queue, offset]) =>
      queue === run.queue && offset >= run.firstOffset && offset <= run.lastOffset ? offset : [],
    );
    if (offsets.length === 0 || random.below(4) === 0) return;
    const ends = [random.pick(offsets), random.pick(offsets)];
    this.forgetPlaces(run, Math.min(...ends), Math.max(...ends));
  }

  /** @returns what is of interest in the runs that are replaced */
  moved(run: KeptRun, replaced: readonly KeptRun[]): readonly OffsetRange[] {
    const moved = this.parts.filter((part) => replaced.includes(part.run));
    this.parts = this.parts.map((part) => (replaced.includes(part.run) ? { ...part, run } : part));
    this.model.branches.saw("a run that was moved into another segment", moved.length > 0);
    return moved;
  }

  /** One of them, which is none any more. */
  takeOne(): Part | undefined {
    if (this.parts.length === 0) return undefined;
    const part = this.model.random.pick(this.parts);
    this.remove(part);
    return part;
  }

  /** All of a queue, which are none any more. */
  takeOf(queue: number): Part[] {
    const taken = this.parts.filter(({ run }) => run.queue === queue);
    this.parts = this.parts.filter(({ run }) => run.queue !== queue);
    return taken;
  }

  private remove(part: Part): void {
    this.parts.splice(this.parts.indexOf(part), 1);
  }
}
