import { expect, test } from "vitest";
import { type SimulationResult, simulate } from "./simulation.ts";

/** Fewer operations than in CI's own run of the simulation (npm run test:sim), which also demands that everything was met. */
const operations = 400;
const seeds = Array.from({ length: 16 }, (_, i) => 900_001 + i);

test.each(seeds)("the log and the queues keep what they promised, whatever the disk does (seed %i)", async (seed) => {
  expect((await simulate(seed, operations)).failure).toBeUndefined();
});

test("the same seed gives the same run", async () => {
  const run = async (): Promise<{ result: SimulationResult; trace: string[] }> => {
    const trace: string[] = [];
    return { result: await simulate(7, 300, (line) => trace.push(line)), trace };
  };
  const first = await run();
  expect(first.trace.length).toBeGreaterThan(300);
  expect(await run()).toEqual(first);
});
