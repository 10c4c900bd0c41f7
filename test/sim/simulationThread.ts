/** A worker thread's first file, which loads the simulation: what is to be counted must not be there before the count begins. */
import { workerData } from "node:worker_threads";
import { BlockCounter } from "./blockCounter.ts";
import type * as Simulation from "./simulationWorker.ts";

export interface ThreadData {
  /** The URL of the bundle. */
  readonly simulation: string;
  readonly countBlocks: boolean;
}

const { simulation, countBlocks } = workerData as ThreadData;
const blocks = countBlocks ? new BlockCounter(simulation) : undefined;
blocks?.start();
const { work } = (await import(simulation)) as typeof Simulation;
blocks?.fileIsLoaded();
work(blocks);
