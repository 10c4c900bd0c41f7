const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, sec: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** "10 min" as milliseconds; undefined if it is not a whole or decimal number with a known unit. */
export function durationMs(text: string): number | undefined {
  const match = /^(\d{1,12}(?:\.\d{1,6})?) *([a-z]+)$/.exec(text.trim());
  const unitMs = match === null ? undefined : unitsMs[match[2] as string];
  return unitMs === undefined ? undefined : Math.round(Number(match?.[1]) * unitMs);
}
