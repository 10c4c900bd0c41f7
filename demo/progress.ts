import type { LineProgress } from "./line.ts";

const TERMINAL_MS = 100;
const PLAIN_MS = 2_000;

export const grouped = (value: number): string => Math.round(value).toLocaleString("en-US");

/** On a terminal one line that changes; else a plain line now and then. */
export class ProgressLine {
  private readonly intervalMs: number;
  private shownAt = Number.NEGATIVE_INFINITY;
  private before: { readonly at: number; readonly confirmed: number } | undefined;

  constructor(private readonly out: NodeJS.WriteStream) {
    this.intervalMs = out.isTTY ? TERMINAL_MS : PLAIN_MS;
  }

  show(progress: LineProgress): void {
    const now = performance.now();
    if (now - this.shownAt < this.intervalMs) return;
    this.shownAt = now;
    const text = `${this.text(progress, now)}${progress.kills > 0 ? `, killed ${progress.kills} times` : ""}`;
    this.out.write(this.out.isTTY ? `\r\x1b[2K${text}` : `${text}\n`);
  }

  /** Takes the line away from a terminal. */
  end(): void {
    if (this.out.isTTY) this.out.write("\r\x1b[2K");
  }

  private text({ count, confirmed, processed, departures, arrivals }: LineProgress, now: number): string {
    const rate = this.before === undefined ? 0 : ((confirmed - this.before.confirmed) / (now - this.before.at)) * 1000;
    this.before = { at: now, confirmed };
    const share = `${Math.floor((confirmed / count) * 100)} %`;
    return `${share.padStart(5)}  confirmed ${grouped(confirmed)} (${grouped(rate)}/s)  processed ${grouped(processed)}  departures ${grouped(departures)}  arrivals ${grouped(arrivals)}`;
  }
}
