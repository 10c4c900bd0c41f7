import { Worker } from "node:worker_threads";
import type { SimulationResult } from "./simulation.ts";
import type { Assignment, WorkerMessage } from "./simulationWorker.ts";

export interface PoolOptions {
  readonly bundle: string;
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

/** Spreads the seeds over threads; a thread that is done with one takes the next. @returns which blocks were entered, of each thread */
export async function runSeeds(options: PoolOptions): Promise<Uint8Array[]> {
  const entered = await Promise.all(Array.from({ length: options.workers }, () => runWorker(options)));
  return entered.filter((one) => one !== undefined);
}

function runWorker({ bundle, seeds, operations, countBlocks, trace = false, done }: PoolOptions): Promise<Uint8Array | undefined> {
  const worker = new Worker(bundle);
  let entered: Uint8Array | undefined;
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
      else if (message.kind === "blocks") entered = message.entered;
      else if (done(message.seed, message.result)) next();
      else {
        clearTimeout(watch);
        worker.postMessage("end");
      }
    });
    worker.on("error", reject);
    worker.on("exit", () => resolve(entered));
    if (countBlocks) worker.postMessage("count");
    next();
  });
}
