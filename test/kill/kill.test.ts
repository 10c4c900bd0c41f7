/**
 * A real process with the embedded log and the broker's queues, killed with SIGKILL under load again and again in one directory: each
 * start goes on with what the killed one left. The page cache survives, so this proves no sync: the simulated disk does that.
 */
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Random } from "../../src/base/random.ts";
import { type BundledChild, bundleChild } from "../support/bundleChild.ts";
import { Ledger } from "./ledger.ts";
import { Listener } from "./listener.ts";

const KILLS = 50;
const SEED = Number(process.env.MILLRACE_TEST_SEED ?? Math.floor(Math.random() * 1_000_000));

let child: BundledChild;
let directory: string;
let running: Listener | undefined;
beforeAll(async () => {
  child = await bundleChild(new URL("underLoad.child.ts", import.meta.url));
  directory = await mkdtemp(path.join(os.tmpdir(), "millrace-kill-"));
});
afterAll(async () => {
  await running?.kill();
  await child.remove();
  await rm(directory, { recursive: true, force: true });
});

test(`killed ${KILLS} times under load: what was confirmed is there, once, in order, and nothing else (MILLRACE_TEST_SEED=${SEED})`, {
  timeout: 600_000,
}, async () => {
  const random = new Random(SEED);
  const ledger = new Ledger();
  let killsUnderLoad = 0;
  // how often something rare is met depends on the machine: it goes on until it was
  const metAll = (): boolean => killsUnderLoad >= KILLS && ledger.recognised > 0 && Object.values(ledger.met).every((times) => times > 0);
  for (let round = 0; round <= KILLS || (round < 4 * KILLS && !metAll()); round++) {
    const args = [directory, random.below(2 ** 31), ledger.firstUnconfirmed, round * 1_000_000].map(String);
    running = new Listener(child.start(args));
    if (random.below(10) === 0 && round !== KILLS)
      await sleep(random.below(150)); // in the middle of its start, or not much later
    else await running.heardAfterStart(round === KILLS ? 0 : random.below(20));
    if (round > KILLS) await sleep(random.below(50 * (round - KILLS))); // a longer life: more has time to happen
    if (round % 20 === 10) {
      await running.heardAfterStart(0);
      expect(await secondProcess()).toEqual({
        kind: "refused",
        code: "DATA_DIRECTORY_LOCKED",
        message: expect.stringContaining(`process ${running.pid}`) as string,
      });
    }
    await running.kill();
    for (const said of running.said) expect(ledger.hear(said), `after ${round} kills`).toEqual([]);
    if (running.said.length > 1) killsUnderLoad++;
  }
  expect(killsUnderLoad).toBeGreaterThanOrEqual(KILLS);
  expect(ledger.recognised).toBeGreaterThan(0);
  for (const [what, times] of Object.entries(ledger.met)) expect(times, what).toBeGreaterThan(0);
});

/** What a process says that finds the directory taken. */
async function secondProcess(): Promise<unknown> {
  const listener = new Listener(child.start([directory, "0", "0", "0"]));
  await listener.heardAfterStart(0);
  await listener.kill(); // it would run on, if it was not refused
  return listener.said[0];
}
