import type { Plugin } from "esbuild";
import { bundleSimulation } from "./bundle.ts";
import { type Mutant, mutants, mutating } from "./mutants.ts";
import { runSeeds } from "./pool.ts";

/** Breaks the code in one way after the other. @returns were all of them found? */
export async function runMutants(seedsMax: number, operations: number, workers: number, only: string | undefined): Promise<boolean> {
  let found = 0;
  const tried = mutants.filter(({ name }) => only === undefined || name.includes(only));
  for (const [number, mutant] of tried.entries()) {
    const seeds = await seedsToFind(number, mutant, seedsMax, operations, workers);
    if (seeds === undefined) console.log(`NOT FOUND by ${seedsMax} seeds: ${mutant.name}`);
    else {
      found++;
      console.log(`found by ${seeds.count} seeds: ${mutant.name}\n    ${seeds.failure.split("\n")[0]}`);
    }
  }
  console.log(`${found} of ${tried.length} mutants found`);
  return found === tried.length;
}

async function seedsToFind(
  number: number,
  mutant: Mutant,
  seedsMax: number,
  operations: number,
  workers: number,
): Promise<{ readonly count: number; readonly failure: string } | undefined> {
  const plugins: Plugin[] = [mutating(mutant)];
  const bundle = await bundleSimulation(`mutant-${number}`, plugins);
  let count = 0;
  let first: string | undefined;
  const seeds = Array.from({ length: seedsMax }, (_, i) => i + 1).values();
  await runSeeds({
    bundle,
    seeds,
    operations,
    workers,
    countBlocks: false,
    done(_, { failure }) {
      if (first === undefined) count++;
      first ??= failure;
      return first === undefined;
    },
  });
  return first === undefined ? undefined : { count, failure: first };
}
