/**
 * The simulation from the command line:
 *
 *   npm run test:sim -- --seeds 10000        runs the seeds 1 to 10000, and prints what was met how often
 *   npm run test:sim -- --seed 17 [--trace]  runs one
 *   npm run test:sim -- --mutants            breaks the code on purpose, and demands that some seed up to 150 finds it
 *
 * Exits with 1 if a seed failed, something that must happen never did, or a mutant was not found.
 */
import os from "node:os";
import { parseArgs } from "node:util";
import { bundleSimulation } from "./bundle.ts";
import { Counters } from "./counters.ts";
import { blocksMissed, judgeMissed, rareAndMet } from "./coverage.ts";
import { runSeeds } from "./pool.ts";
import { runMutants } from "./runMutants.ts";
import { unreachable } from "./unreachable.ts";

const { values } = parseArgs({
  options: {
    /** 500, or 150 with each mutant. */
    seeds: { type: "string" },
    seed: { type: "string" },
    ops: { type: "string", default: "1000" },
    workers: { type: "string", default: String(os.availableParallelism()) },
    trace: { type: "boolean", default: false },
    mutants: { type: "boolean", default: false },
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
  const entered = await runSeeds({
    bundle,
    seeds: (one === undefined ? seedsUpTo(count) : [one]).values(),
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
  const missed = countZeros ? blocksMissed(bundle, entered) : [];
  if (countZeros) for (const line of rareAndMet(missed, unreachable)) console.log(line);
  const missing = countZeros ? [...counters.missing().map((name) => `never met: ${name}`), ...judgeMissed(missed, unreachable)] : [];
  for (const line of missing) console.log(line);
  return failed === 0 && missing.length === 0;
}

const seedsUpTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

const passed = values.mutants
  ? await runMutants(Number(values.seeds ?? 150), Number(values.ops), Number(values.workers), values.only)
  : await runAll();
process.exitCode = passed ? 0 : 1;
