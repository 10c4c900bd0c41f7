import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import type { SimulationBundle } from "./bundle.ts";
import type { SimulationResult } from "./simulation.ts";
import type { ThreadData } from "./simulationThread.ts";
import type { Assignment, WorkerMessage } from "./simulationWorker.ts";

export interface PoolOptions {
  readonly bundle: SimulationBundle;
  readonly seeds: Iterator<number>;
  readonly operations: number;
  readonly workers: number;
  readonly countBlocks: boolean;
  readonly trace?: boolean;
  /** @returns false: no further seed. */
  readonly done: (seed: number, result: SimulationResult) => boolean;
}

/** A seed takes seconds. One that takes this long goes round in circles. */
const hangMs = 120_000;

export const seedsFrom = (first: number, count: number): Iterator<number> => Array.from({ length: count }, (_, i) => first + i).values();

/**
 * Spreads the seeds over threads; a thread that is done with one takes the next.
 * @returns of each thread, in how many of its seeds each character of the bundle was run
 */
export async function runSeeds(options: PoolOptions): Promise<Uint16Array[]> {
  const counted = await Promise.all(Array.from({ length: options.workers }, () => runWorker(options)));
  return counted.filter((one) => one !== undefined);
}

function runWorker({ bundle, seeds, operations, countBlocks, trace = false, done }: PoolOptions): Promise<Uint16Array | undefined> {
  const workerData: ThreadData = { simulation: pathToFileURL(bundle.simulation).href, countBlocks };
  const worker = new Worker(bundle.thread, { workerData });
  let counted: Uint16Array | undefined;
  let seed = -1;
  let watch: NodeJS.Timeout | undefined;
  const next = (): void => {
    clearTimeout(watch);
    const { value, done: isOver } = seeds.next();
    if (isOver === true) return worker.postMessage("end");
    seed = value;
    watch = setTimeout(() => {
      done(seed, { counters: {}, failure: "it does not come to an end", isViolation: false });
      void worker.terminate();
    }, hangMs);
    worker.postMessage({ seed, operations, trace } satisfies Assignment);
  };
  return new Promise((resolve, reject) => {
    worker.on("message", (message: WorkerMessage) => {
      if (message.kind === "trace") process.stdout.write(`${message.line}\n`);
      else if (message.kind === "blocks") counted = message.seeds;
      else if (done(message.seed, message.result)) next();
      else {
        clearTimeout(watch);
        worker.postMessage("end");
      }
    });
    worker.on("error", reject);
    worker.on("exit", () => resolve(counted));
    next();
  });
}
