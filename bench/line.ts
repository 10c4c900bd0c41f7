/**
 * The line whole: the demo's publisher, two consumers and the pipeline. The peer: the same publisher and consumers with the baseline
 * broker, which keeps every flight once and does nothing with it. Rounds alternate, so that both see the same machine.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Children } from "../demo/children.ts";
import { disorder } from "../demo/disorder.ts";
import { Line } from "../demo/line.ts";
import { ConsumerProcess, PublisherProcess } from "../demo/lineProcesses.ts";
import { NodeProcess } from "../demo/nodeProcess.ts";
import { flightsPath } from "../demo/paths.ts";
import { ARRIVALS, DEPARTURES } from "../demo/topology.ts";
import type { BenchPart, Measured, Printer } from "./measure.ts";
import { inFolder } from "./workspace.ts";

const FLIGHTS = 250_000;
const ROUNDS = 3;
const settings = { events: FLIGHTS, ...disorder, seed: 1 };
const baselineProgram = fileURLToPath(new URL("./baseline/main.js", import.meta.url));

/** CPU time of another process, all its threads; NaN where the operating system has no /proc. */
function cpuMsOf(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) * 10; // utime and stime, in hundredths of a second
  } catch {
    return Number.NaN;
  }
}

const failed = (what: string): never => {
  throw new Error(what);
};

function throughNode(children: Children): Promise<Measured> {
  return inFolder(async (directory) => {
    const node = await NodeProcess.create(directory, children);
    let cpuMs = 0;
    const result = await new Line(node, children, { ...settings, kills: [], directory }, () => {
      const now = cpuMsOf(node.pid);
      if (!Number.isNaN(now)) cpuMs = now; // until it ends
    }).run();
    return { events: result.count, ms: result.seconds.published * 1000, cpuMs };
  });
}

function throughBaseline(children: Children): Promise<Measured> {
  return inFolder(async (directory) => {
    const broker = children.spawn([baselineProgram, `${directory}/journal`], { stdio: ["pipe", "pipe", "inherit"] });
    const [ready] = (await once(broker.stdout ?? failed("no output of the baseline broker"), "data")) as [Buffer];
    const port = Number(ready.toString().split(" ")[1]);
    const publisher = new PublisherProcess(children, { port, flights: flightsPath, connections: 3, ...settings }, failed);
    const { count } = await publisher.loaded;
    const consumers = (
      [
        ["consumerAmqplib", ARRIVALS],
        ["consumerRabbitmqClient", DEPARTURES],
      ] as const
    ).map(([program, queue]) => {
      return new ConsumerProcess(children, program, { port, queue, count, seenFile: `${directory}/${queue}.csv` }, failed);
    });
    await Promise.all(consumers.map((consumer) => consumer.ready));
    const cpuBefore = cpuMsOf(broker.pid);
    publisher.go(count);
    const { seconds } = await publisher.done;
    const cpuMs = cpuMsOf(broker.pid) - cpuBefore;
    await Promise.all(consumers.map((consumer) => consumer.finish()));
    publisher.close();
    broker.stdin?.end();
    await once(broker, "exit");
    return { events: count, ms: seconds * 1000, cpuMs };
  });
}

const median = (rounds: readonly Measured[]): Measured => rounds.toSorted((a, b) => a.ms - b.ms)[Math.floor(rounds.length / 2)] as Measured;

export const line: BenchPart = {
  name: "line",
  async run(print: Printer) {
    const children = new Children();
    const baseline: Measured[] = [];
    const node: Measured[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      baseline.push(await throughBaseline(children));
      node.push(await throughNode(children));
    }
    const peer = median(baseline);
    print.line("line: publisher and baseline broker", peer);
    print.line("line: the same publisher, the whole line", median(node), { name: "the baseline broker", measured: peer });
  },
};
