/**
 * The simulation from the command line:
 *
 *   npm run test:sim -- --seeds 10000             runs so many seeds, from 1 on, and prints what was met how often
 *   npm run test:sim -- --from 5001 --seeds 5000  the same from 5001 on: a part of them
 *   npm run test:sim -- --seed 17 [--trace]       runs one
 *   npm run test:sim -- --mutants                 breaks the code on purpose, and demands that one of 150 seeds finds it
 *   npm run test:sim -- --mutants --quick         only in ways that the first seeds find
 *
 * Exits with 1 if a seed failed, something that must happen never did, or a mutant was not found.
 */
import os from "node:os";
import { parseArgs } from "node:util";
import { bundleSimulation } from "./bundle.ts";
import { Counters } from "./counters.ts";
import { blocksBelow, judgeMissed, luckWithBlocks, seldomOf } from "./coverage.ts";
import { runSeeds, seedsFrom } from "./pool.ts";
import { runMutants } from "./runMutants.ts";
import { unreachable } from "./unreachable.ts";

const { values } = parseArgs({
  options: {
    /** How many: 500, or 150 with each mutant, or 15 with each quick one. */
    seeds: { type: "string" },
    /** The first of them. */
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    ops: { type: "string", default: "1000" },
    workers: { type: "string", default: String(os.availableParallelism()) },
    trace: { type: "boolean", default: false },
    mutants: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    /** Those mutants whose name has this in it. */
    only: { type: "string" },
    /** Too few seeds to meet everything. */
    "no-zeros": { type: "boolean", default: false },
  },
});

/** Every run prints its progress about so often. */
const progressMs = 10_000;
/** After so many failures more of them tell nothing new. */
const failuresMax = 20;

async function runAll(): Promise<boolean> {
  const operations = Number(values.ops);
  const one = values.seed === undefined ? undefined : Number(values.seed);
  const count = one === undefined ? Number(values.seeds ?? 500) : 1;
  const countZeros = one === undefined && !values["no-zeros"];
  const bundle = await bundleSimulation("simulation");
  const counters = new Counters();
  const begin = performance.now();
  let printedAt = begin;
  let done = 0;
  let failed = 0;
  const progress = (): void =>
    console.log(`${done} of ${count} seeds, ${failed} failed, ${Math.round((performance.now() - begin) / 1000)} s`);
  const counted = await runSeeds({
    bundle,
    seeds: seedsFrom(one ?? Number(values.from), count),
    operations,
    workers: Math.min(Number(values.workers), count),
    countBlocks: countZeros,
    trace: values.trace,
    done(seed, { counters: met, failure }) {
      done++;
      counters.add(met);
      if (failure !== undefined) {
        failed++;
        console.log(`\nseed ${seed} failed: ${failure}\n  again: npm run test:sim -- --seed ${seed} --ops ${operations} --trace\n`);
      }
      if (performance.now() - printedAt > progressMs) {
        printedAt = performance.now();
        progress();
      }
      return failed < failuresMax;
    },
  });
  console.log(counters.table());
  progress();
  const missing = countZeros
    ? [...counters.missing().map((name) => `never met: ${name}`), ...judgeBlocks(bundle.simulation, counted, done)]
    : [];
  for (const line of missing) console.log(line);
  return failed === 0 && missing.length === 0;
}

function judgeBlocks(bundle: string, counted: readonly Uint16Array[], seeds: number): string[] {
  const seldom = blocksBelow(seldomOf(seeds), bundle, counted);
  for (const line of luckWithBlocks(seldom, unreachable)) console.log(line);
  return judgeMissed(
    seldom.filter((block) => block.seeds === 0),
    unreachable,
  );
}

const tryMutants = (): Promise<boolean> =>
  runMutants({
    isTried: ({ name, isFoundSoon = false }) => (isFoundSoon || !values.quick) && name.includes(values.only ?? ""),
    seedsMax: Number(values.seeds ?? (values.quick ? 15 : 150)),
    operations: Number(values.ops),
    workers: Number(values.workers),
  });

process.exitCode = (await (values.mutants ? tryMutants() : runAll())) ? 0 : 1;
