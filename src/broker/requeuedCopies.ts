import { lowerBound } from "../base/lowerBound.ts";
import type { Copy } from "./copy.ts";

/**
 * Copies that came back, in order of their offsets. There are at most as many as were unacknowledged. The two usual cases
 * need no sorting: many come back in order, or the first one goes and comes back.
 */
export class RequeuedCopies {
  private copies: Copy[] = [];
  private head = 0;
  private sorted = true;

  get length(): number {
    return this.copies.length - this.head;
  }

  add(copy: Copy): void {
    if (this.length === 0) {
      this.copies = [copy];
      this.head = 0;
      this.sorted = true;
    } else if (this.head > 0 && this.sorted && copy.offset < (this.copies[this.head] as Copy).offset) {
      this.copies[--this.head] = copy;
    } else {
      this.sorted &&= copy.offset > (this.copies.at(-1) as Copy).offset;
      this.copies.push(copy);
    }
  }

  first(): Copy | undefined {
    this.sort();
    return this.copies[this.head];
  }

  takeFirst(): Copy {
    this.sort();
    const copy = this.copies[this.head++] as Copy;
    if (this.head > 1024 && this.head * 2 > this.copies.length) {
      this.copies = this.copies.slice(this.head);
      this.head = 0;
    }
    return copy;
  }

  positionOf(offset: number): number | undefined {
    const at = this.indexOf(offset); // first: it may sort, which makes `copies` another array
    return this.copies[at]?.position;
  }

  /** False: it is not here. */
  move(offset: number, to: number): boolean {
    const at = this.indexOf(offset);
    const copy = this.copies[at];
    if (copy !== undefined) this.copies[at] = { ...copy, position: to };
    return copy !== undefined;
  }

  *[Symbol.iterator](): Generator<Copy> {
    this.sort();
    for (let at = this.head; at < this.copies.length; at++) yield this.copies[at] as Copy;
  }

  /** -1: it is not here. */
  private indexOf(offset: number): number {
    this.sort();
    const { copies } = this;
    const found = lowerBound(this.head, copies.length, (at) => (copies[at] as Copy).offset >= offset);
    return copies[found]?.offset === offset ? found : -1;
  }

  private sort(): void {
    if (this.sorted) return;
    this.copies = this.copies.slice(this.head).sort((a, b) => a.offset - b.offset);
    this.head = 0;
    this.sorted = true;
  }
}
