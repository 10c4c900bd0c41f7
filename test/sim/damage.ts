import type { BitFlip } from "./bitFlips.ts";

/** What is damaged on the disk, what the log says of it, and what it took along. */
export class Damage {
  now: BitFlip | undefined;
  /** Was damaged and said to be; what it took along is forgiven. */
  forgiven: BitFlip | undefined;
  said = false;

  constructor(private readonly note: (what: string) => void) {}

  begin(flip: BitFlip): void {
    this.now = flip;
    this.note(`fault: a flipped bit in ${flip.kind}`);
    this.note(`fault: damage of ${flip.extent}`);
  }

  follow(lines: readonly string[]): void {
    const { now } = this;
    if (now === undefined || this.said) return;
    this.said = lines.some((line) => line.includes(now.file));
    if (this.said) this.note(`a flipped bit in ${now.kind} is found and named`);
  }

  /** The operator puts the right file back; the start may have cut it, and said so, before it was refused. */
  refused(): void {
    this.note(`a start is refused for a flipped bit in ${this.now?.kind}`);
    this.now?.undo();
    this.forgiven = this.said ? this.now : undefined;
    this.now = undefined;
  }

  undo(): void {
    this.now?.undo();
    this.forgiven = this.said ? this.now : undefined;
    this.now = undefined;
  }

  over(): void {
    this.forgiven = undefined;
    this.said = false;
  }
}
