/** `npm run demo`: real flights through the whole line, judged by another program. See README.md. */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { Random } from "../src/base/random.ts";
import { Children } from "./children.ts";
import { disorder } from "./disorder.ts";
import { judge } from "./judge.ts";
import { planKills } from "./kills.ts";
import { Line, type LineResult } from "./line.ts";
import { NodeProcess } from "./nodeProcess.ts";
import { type DemoOptions, readOptions, USAGE } from "./options.ts";
import { flightsPath, nodeEntry, outputDirectory } from "./paths.ts";
import { ProgressLine } from "./progress.ts";
import { findingsText, killSentence, lateSentence, stageTable, worstHours } from "./report.ts";

const say = (text: string): void => console.log(text);

async function demo(options: DemoOptions): Promise<number> {
  for (const needed of [nodeEntry, flightsPath]) {
    if (!existsSync(needed))
      throw new Error(`${needed} is missing: run "npm ci" and start the demo with "npm run demo", which builds first`);
  }
  const other = await NodeProcess.runningIn(outputDirectory);
  if (other !== undefined) throw new Error(`another demo runs: its node, process ${other}, works in ${shortPath(outputDirectory)}/`);
  const children = new Children();
  await rm(outputDirectory, { recursive: true, force: true });
  const node = await NodeProcess.create(outputDirectory, children);
  say(`A node on port ${node.port}, a publisher and two consumers, each a process of its own. Output: ${shortPath(outputDirectory)}/`);
  const line = await runLine(options, node, children);

  const verdict = await judge({
    original: flightsPath,
    events: line.count,
    output: outputDirectory,
    heldBack: line.heldBack,
    queues: line.queues,
  });
  say(`\n${stageTable(line, verdict)}\n\n  ${lateSentence(line, verdict)}`);
  if (options.kill) say(`  ${killSentence(line)}`);
  if (verdict.findings.length > 0) {
    say(`\nDuckDB found differences between the original and the output:\n${findingsText(verdict.findings)}\n`);
    say(`The node's data and log are kept in ${shortPath(outputDirectory)}/. The seed was ${options.seed}.`);
    return 1;
  }
  say("  DuckDB compared the output with the original, row by row: equal.\n");
  say(`The worst hours of an airport (ten flights or more):\n${await worstHours(outputDirectory)}\n`);
  if (!options.keep) await rm(node.data, { recursive: true });
  say(whereAndWhatNext(options));
  return 0;
}

async function runLine({ events, kill, seed }: DemoOptions, node: NodeProcess, children: Children): Promise<LineResult> {
  const progress = new ProgressLine(process.stdout);
  const settings = {
    events,
    ...disorder,
    seed,
    kills: kill ? planKills(new Random(seed)) : [],
    directory: outputDirectory,
  };
  try {
    return await new Line(node, children, settings, (now) => progress.show(now)).run();
  } finally {
    progress.end();
  }
}

function whereAndWhatNext({ kill, keep, events }: DemoOptions): string {
  const out = shortPath(outputDirectory);
  const next = [
    kill
      ? "npm run demo -- --kill --seed 2       other moments"
      : "npm run demo -- --kill                kill the node on the way, and lose nothing",
    events === "all"
      ? "npm run demo -- --events 100000       a short run"
      : "npm run demo -- --events all          half a year: 3,000,000 flights",
    "npx millrace dev pipelines/hourly-delays.ts    a node of your own; change the pipeline while it runs",
  ];
  return [
    "The files:",
    `  ${out}/flights/day=.../     every flight, by day`,
    `  ${out}/hourly-delays/       a row an airport and hour`,
    `  ${out}/flights-late/        what came too late`,
    ...(keep ? [`  ${out}/data/                the node's own`] : []),
    "Next:",
    ...next.map((line) => `  ${line}`),
  ].join("\n");
}

const shortPath = (file: string): string => path.relative(process.cwd(), file) || ".";

/** undefined: they were wrong, which is said. */
function optionsOf(args: readonly string[]): DemoOptions | undefined {
  try {
    return readOptions(args);
  } catch (error) {
    console.error(`${textOf(error)}\n\n${USAGE}`);
    return undefined;
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const args = process.argv.slice(2);
if (args.includes("--help")) {
  say(USAGE);
  process.exit(0);
}
const options = optionsOf(args);
if (options === undefined) process.exit(2);
try {
  process.exit(await demo(options));
} catch (error) {
  console.error(`\nThe demo failed: ${textOf(error)}`);
  process.exit(1);
}
