/** One row of the log's table: something measured, the physical limit or peer of the same run, and the ratio that it has to reach. */

export interface Row {
  readonly name: string;
  /** Of what was measured, with its unit. */
  readonly value: string;
  /** Of the limit or peer, with its name; none where the target is a plain number. */
  readonly limit?: string;
  /** What is held against the target: a ratio to the limit, or the number itself. */
  readonly reached: number;
  readonly target: number;
  /** The target is the least that is good, or the most. */
  readonly bound: "least" | "most";
  /** How `reached` and `target` are said. */
  readonly unit: "ratio" | "MB/s" | "records/s" | "messages/s" | "ms" | "bytes";
}

export interface TableOptions {
  /** Sizes in GB of the rows that compare sizes; the first and the last are held against each other. */
  readonly sizesGb: readonly number[];
  /** What a round of everything else is multiplied by. */
  readonly effort: number;
}

const NAME_WIDTH = 62;
const VALUE_WIDTH = 42;
const LIMIT_WIDTH = 34;

export function printHead(): void {
  const head = ["".padEnd(NAME_WIDTH), "measured".padEnd(VALUE_WIDTH), "limit or peer".padEnd(LIMIT_WIDTH), "reached, target"];
  console.log(head.join(" "));
}

export function printRow({ name, value, limit, reached, target, bound, unit }: Row): void {
  const ok = bound === "least" ? reached >= target : reached <= target;
  const held = `${say(reached, unit)} (at ${bound} ${say(target, unit)})`;
  console.log(
    `${name.padEnd(NAME_WIDTH)} ${value.padEnd(VALUE_WIDTH)} ${(limit ?? "").padEnd(LIMIT_WIDTH)} ${held} ${ok ? "ok" : bound === "least" ? "UNDER" : "OVER"}`,
  );
}

function say(number: number, unit: Row["unit"]): string {
  if (unit === "ratio") return number.toFixed(2);
  if (unit === "ms") return milliseconds(number);
  return `${Math.round(number).toLocaleString("en-US")} ${unit}`;
}

export const milliseconds = (ms: number): string => `${ms < 10 ? ms.toFixed(2) : Math.round(ms).toLocaleString("en-US")} ms`;
export const perSecond = (count: number, ms: number, unit: string): string =>
  `${Math.round((count / ms) * 1000).toLocaleString("en-US")} ${unit}/s`;
/** Of the processors, for each of `count`. */
export const cpuEach = (cpuMs: number, count: number, unit: string): string => `${((cpuMs * 1000) / count).toFixed(2)} µs CPU a ${unit}`;
export const megabytesPerSecond = (bytes: number, ms: number): string => `${Math.round(bytes / ms / 1000).toLocaleString("en-US")} MB/s`;
