import type { MillraceError } from "../../../base/errors.ts";
import type { ProducerState } from "./producerState.ts";

interface Work {
  readonly run: (producers: ProducerState) => void;
  readonly refuse: (failure: MillraceError) => void;
}

/** The producers of everything that was appended, written or not: in memory while the partition's files are in use. */
export class AppendedProducers {
  private producers: ProducerState | undefined;
  private waiting: Work[] = [];

  /** @param wanted called when work waits for `set`. */
  constructor(private readonly wanted: () => void) {}

  get awaited(): boolean {
    return this.waiting.length > 0;
  }

  /** Undefined: whoever uses them has to wait. */
  get atHand(): ProducerState | undefined {
    return this.waiting.length === 0 ? this.producers : undefined;
  }

  /** Now if they are in memory; else as soon as they were read, in the order of the calls. */
  use<T>(work: (producers: ProducerState) => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = (producers: ProducerState): void => {
        try {
          resolve(work(producers));
        } catch (error) {
          reject(error as MillraceError);
        }
      };
      if (this.atHand !== undefined) return run(this.atHand);
      this.waiting.push({ run, refuse: reject });
      this.wanted();
    });
  }

  /** @param written the producers of what is written; what is appended later goes into a copy. */
  follow(written: ProducerState): void {
    this.producers ??= written.copy();
  }

  /** To be followed: does what waited for it. */
  serve(): void {
    const { producers } = this;
    if (producers === undefined) return;
    for (const work of this.waiting.splice(0)) work.run(producers);
  }

  /** Who comes from now on waits until they were read again. */
  forget(): void {
    this.producers = undefined;
  }

  refuseWaiting(failure: MillraceError): void {
    for (const work of this.waiting.splice(0)) work.refuse(failure);
  }
}
