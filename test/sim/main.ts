/**
 * The simulation from the command line:
 *
 *   npm run test:sim -- --seeds 10000        runs the seeds 1 to 10000, and prints what was met how often
 *   npm run test:sim -- --seed 17 [--trace]  runs one
 *   npm run test:sim -- --mutants            breaks the code on purpose, and demands that this is found
 *
 * Exits with 1 if a seed failed, something that must happen never did, or a mutant was not found.
 */
import os from "node:os";
import { parseArgs } from "node:util";
import { bundleSimulation } from "./bundle.ts";
import { Counters } from "./counters.ts";
import { runSeeds } from "./pool.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "500" },
    seed: { type: "string" },
    ops: { type: "string", default: "1000" },
    workers: { type: "string", default: String(os.availableParallelism()) },
    trace: { type: "boolean", default: false },
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
  const count = one === undefined ? Number(values.seeds) : 1;
  const countZeros = one === undefined && !values["no-zeros"];
  const bundle = await bundleSimulation("simulation");
  const counters = new Counters();
  const begin = performance.now();
  let printedAt = begin;
  let done = 0;
  let failed = 0;
  const progress = (): void =>
    console.log(`${done} of ${count} seeds, ${failed} failed, ${Math.round((performance.now() - begin) / 1000)} s`);
  await runSeeds({
    bundle,
    seeds: (one === undefined ? seedsUpTo(count) : [one]).values(),
    operations,
    workers: Math.min(Number(values.workers), count),
    countBlocks: false,
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
  const missing = countZeros ? counters.missing() : [];
  for (const name of missing) console.log(`never met: ${name}`);
  return failed === 0 && missing.length === 0;
}

const seedsUpTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

process.exitCode = (await runAll()) ? 0 : 1;
