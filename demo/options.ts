import { parseArgs } from "node:util";

export interface DemoOptions {
  readonly events: number | "january" | "all";
  readonly kill: boolean;
  readonly seed: number;
  readonly keep: boolean;
}

export const USAGE = `npm run demo -- [options]
  --events N|all  how many flights, from the first of January 2001 on (default: those of January, about half a million)
  --kill          kill the node with SIGKILL again and again on the way
  --seed N        which flights are held back and when the node is killed (default: 1)
  --keep          keep the node's data directory when all is done`;

/** Throws with what is wrong, in words for a person. */
export function readOptions(args: readonly string[]): DemoOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      events: { type: "string", default: "january" },
      kill: { type: "boolean", default: false },
      seed: { type: "string", default: "1" },
      keep: { type: "boolean", default: false },
    },
  });
  const { events, kill, keep } = values;
  const named = events === "january" || events === "all";
  return { events: named ? events : wholeNumber("--events", events, 1), kill, keep, seed: wholeNumber("--seed", values.seed, 0) };
}

function wholeNumber(option: string, text: string, least: number): number {
  const number = Number(text.replaceAll("_", ""));
  if (Number.isSafeInteger(number) && number >= least) return number;
  throw new Error(`${option} ${text}: a whole number from ${least} on is needed${option === "--events" ? ", or all" : ""}`);
}
