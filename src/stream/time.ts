import { MillraceError } from "../base/errors.ts";

/** "10 min", "1 h", or milliseconds. */
export type Duration = number | `${number} ${"ms" | "s" | "min" | "h" | "d"}`;

/** A point in time. ISO 8601 text needs its Z: without one it would be local time. Temporal.Instant fits structurally. */
export type Instant = Date | number | `${string}T${string}Z` | { readonly epochMilliseconds: number };

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 };
const written = /^(\d+(?:\.\d+)?) (ms|s|min|h|d)$/;

/** Whole milliseconds, not negative. `what` names the option for the error. */
export function durationMs(duration: Duration, what: string): number {
  const match = typeof duration === "string" ? written.exec(duration) : undefined;
  const ms = typeof duration === "number" ? duration : match ? Number(match[1]) * (unitsMs[match[2] as string] as number) : Number.NaN;
  if (Number.isSafeInteger(ms) && ms >= 0) return ms;
  throw new MillraceError("DURATION_INVALID", `${what} is ${JSON.stringify(duration)}, which is no duration.`, {
    domain: "user",
    hint: 'Write "10 min" (units: ms, s, min, h, d) or whole milliseconds.',
  });
}

/** Milliseconds since 1970 UTC; NaN if it is no point in time. Safe for whatever a callback returned. */
export function instantMs(instant: Instant): number {
  if (typeof instant === "number") return instant;
  if (instant instanceof Date) return instant.getTime();
  if (typeof instant === "string") return instant.endsWith("Z") ? Date.parse(instant) : Number.NaN;
  return typeof instant === "object" && instant !== null ? Number(instant.epochMilliseconds) : Number.NaN;
}
