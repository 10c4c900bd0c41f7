import type { Consumer } from "./contract.ts";
import { accessRefused } from "./errors.ts";

/** A queue's consumers, in turn: each delivery goes to the next one that is ready. */
export class Consumers {
  private readonly all: Consumer[] = [];
  private next = 0;

  get count(): number {
    return this.all.length;
  }

  add(consumer: Consumer, where: string): void {
    if (this.all.some((other) => other.exclusive) || (consumer.exclusive && this.all.length > 0)) {
      throw accessRefused(`${where} in exclusive use`);
    }
    this.all.push(consumer);
  }

  /** False if it was not there. */
  delete(consumer: Consumer): boolean {
    const at = this.all.indexOf(consumer);
    if (at === -1) return false;
    this.all.splice(at, 1);
    if (at < this.next) this.next--;
    return true;
  }

  nextReady(): Consumer | undefined {
    for (let tried = 0; tried < this.all.length; tried++) {
      if (this.next >= this.all.length) this.next = 0;
      const consumer = this.all[this.next++] as Consumer;
      if (consumer.ready()) return consumer;
    }
    return undefined;
  }

  /** The one that `nextReady` gave got nothing: it is the next one again. */
  putBack(): void {
    this.next--;
  }

  /** Everyone leaves at once; tells each of them. */
  cancelAll(): void {
    for (const consumer of this.all.splice(0)) consumer.cancelled();
  }
}
