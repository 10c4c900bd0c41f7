import { bundleSimulation } from "./bundle.ts";
import { type Mutant, mutants } from "./mutants.ts";
import { runSeeds, seedsFrom } from "./pool.ts";

interface Tried {
  readonly seeds: number;
  /** The first promise that was not kept. */
  readonly violation: string | undefined;
  /** Something else went wrong: of that nothing is learned. */
  readonly strange: string | undefined;
}

export interface MutantsOptions {
  readonly isTried: (mutant: Mutant) => boolean;
  readonly seedsMax: number;
  readonly operations: number;
  readonly workers: number;
}

/** Breaks the code in one way after the other, as many at once as there are workers. @returns were all of them found? */
export async function runMutants({ isTried, seedsMax, operations, workers }: MutantsOptions): Promise<boolean> {
  const tried = mutants.filter(isTried);
  const begin = performance.now();
  const waiting = tried.entries();
  let found = 0;
  const work = async (): Promise<void> => {
    for (const [number, mutant] of waiting) {
      const { seeds, violation, strange } = await trySeeds(number, mutant, seedsMax, operations);
      if (violation === undefined) console.log(`NOT FOUND by ${seeds} seeds: ${mutant.name}\n    ${strange ?? ""}`);
      else {
        found++;
        console.log(`found by ${seeds} seeds: ${mutant.name}\n    ${violation}`);
      }
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  console.log(`${found} of ${tried.length} mutants found, ${Math.round((performance.now() - begin) / 1000)} s`);
  return found > 0 && found === tried.length;
}

async function trySeeds(number: number, mutant: Mutant, seedsMax: number, operations: number): Promise<Tried> {
  const bundle = await bundleSimulation(`mutant-${number}`, [mutant]);
  let count = 0;
  let violation: string | undefined;
  let strange: string | undefined;
  await runSeeds({
    bundle,
    seeds: seedsFrom(1, seedsMax),
    operations,
    workers: 1,
    countBlocks: false,
    done(_, { failure, isViolation }) {
      count++;
      const line = failure?.split("\n")[0];
      if (isViolation) violation = line;
      else strange ??= line;
      return violation === undefined;
    },
  });
  return { seeds: count, violation, strange };
}
