/**
 * The whole line with real processes, killed with SIGKILL in a loop: at random moments and between prepare, checkpoint and rename of the
 * sinks; then judged by DuckDB. Uses what `npm run build` made. The page cache survives a killed process, so this proves no sync: the
 * simulated disk does that.
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeAll, expect, test } from "vitest";
import { Children } from "../../demo/children.ts";
import { judge } from "../../demo/judge.ts";
import { planKills } from "../../demo/kills.ts";
import { Line } from "../../demo/line.ts";
import { NodeProcess } from "../../demo/nodeProcess.ts";
import { flightsPath, nodeEntry } from "../../demo/paths.ts";
import { Random } from "../../src/base/random.ts";

const MINUTE_MS = 60_000;
const EVENTS = 8_000;
const SEED = Number(process.env.MILLRACE_TEST_SEED ?? Math.floor(Math.random() * 1_000_000));

let directory: string | undefined;
const children = new Children();

beforeAll(() => {
  if (!existsSync(nodeEntry)) throw new Error(`${nodeEntry} is missing: "npm run build" makes it`);
});

afterEach(async () => {
  children.killAll();
  if (directory !== undefined) await rm(directory, { recursive: true, force: true });
});

test(`killed again and again, nothing is lost and nothing doubled (MILLRACE_TEST_SEED=${SEED})`, async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), "millrace-crash-"));
  const node = await NodeProcess.create(directory, children);
  const kills = planKills(new Random(SEED));
  const options = {
    events: EVENTS,
    disorderMs: 110 * MINUTE_MS,
    heldBackOneIn: 200,
    heldBackMs: 360 * MINUTE_MS,
    seed: SEED,
    kills,
    directory,
  };
  const line = await new Line(node, children, options, () => undefined).run();

  expect(line.count).toBe(EVENTS);
  expect(line.kills).toBe(kills.length);
  expect(line.heldBack.length).toBeGreaterThan(0);
  const { queues, heldBack } = line;
  const verdict = await judge({ original: flightsPath, events: EVENTS, output: directory, heldBack, queues });
  expect(verdict.findings).toEqual([]);
  expect(verdict.lateBesides).toBe(0); // the publisher kept its bound, also when it published again
});
