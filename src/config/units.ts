/** Sizes and times with their unit, for keys whose name ends in the unit they are kept in: "64 MiB" for `...-bytes`, "10 s" for `...-ms`. */
import { keyName } from "./names.ts";

const bytes: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
};

const milliseconds: Readonly<Record<string, number>> = { ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** The number that `value` stands for under this key; anything that is not a text with a unit comes back as it is. */
export function withoutUnit(key: string, value: unknown): unknown {
  if (typeof value !== "string") return value;
  const units = unitsOf(key);
  const parts = /^\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*$/.exec(value);
  const factor = parts === null ? undefined : units?.[parts[2] as string];
  return factor === undefined ? value : Math.round(Number(parts?.[1]) * factor);
}

/** What may be written for such a key, behind an error; empty for every other key. */
export const unitHint = (key: PropertyKey | undefined): string => {
  const units = key === undefined ? undefined : unitsOf(String(key));
  return units === undefined ? "" : ` Write a number, or one with a unit: ${Object.keys(units).join(", ")}.`;
};

function unitsOf(key: string): Readonly<Record<string, number>> | undefined {
  const unit = /(?:^|-)(bytes|ms)(?:-max|-min)?$/.exec(keyName(key))?.[1];
  return unit === "bytes" ? bytes : unit === "ms" ? milliseconds : undefined;
}
