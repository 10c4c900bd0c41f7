/**
 * `npm run bench -- log`: the speed that the log promises, each row with its limit measured in turns with it. With `--large` the rows that
 * compare sizes go up to 30 GB.
 */
import type { BenchPart } from "../measure.ts";
import { appends } from "./appends.ts";
import { compression } from "./compression.ts";
import { many } from "./many.ts";
import { callers, queues } from "./queues.ts";
import { reads } from "./reads.ts";
import { printHead, printRow, type Row, type TableOptions } from "./row.ts";
import { parked, sizes } from "./sizes.ts";
import { syncedAppends } from "./syncedAppends.ts";
import { turns } from "./turns.ts";

/** Tells its rows as they come. */
type Part = (options: TableOptions, tell: (row: Row) => void) => Promise<void>;
const parts: Readonly<Record<string, Part>> = { appends, syncedAppends, queues, callers, reads, sizes, parked, many, turns, compression };

const moderate: TableOptions = { sizesGb: [0.1, 1], effort: 1 };
const large: TableOptions = { sizesGb: [1, 10, 30], effort: 2 };

/** The table, or one part of it. */
export function logParts(isLarge: boolean): BenchPart[] {
  const options = isLarge ? large : moderate;
  const run = async (chosen: readonly Part[]): Promise<void> => {
    printHead();
    for (const part of chosen) await part(options, printRow);
  };
  const single = Object.entries(parts).map(([name, part]) => ({ name: `log.${name}`, run: () => run([part]) }));
  return [{ name: "log", run: () => run(Object.values(parts)) }, ...single];
}
