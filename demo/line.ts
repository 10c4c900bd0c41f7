/** The whole line once: a node, a publisher and two consumers, each a process; killed on the way if that is asked for; drained. */
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../src/base/random.ts";
import type { NodeStatus } from "../src/server/status.ts";
import type { Children } from "./children.ts";
import { DuckDb, quoted } from "./duckdb.ts";
import type { QueueEvidence } from "./judge.ts";
import { crashPointOf, type Kill } from "./kills.ts";
import { ConsumerProcess, PublisherProcess } from "./lineProcesses.ts";
import type { NodeProcess } from "./nodeProcess.ts";
import { flightsPath } from "./paths.ts";
import type { PublisherSettings } from "./processMessages.ts";
import { ARRIVALS, DEPARTURES } from "./topology.ts";

export interface LineOptions {
  readonly events: PublisherSettings["events"];
  readonly disorderMs: number;
  readonly heldBackOneIn: number;
  readonly heldBackMs: number;
  readonly seed: number;
  readonly kills: readonly Kill[];
  /** Where the consumers write what they saw. */
  readonly directory: string;
}

/** What is shown while it runs. */
export interface LineProgress {
  readonly count: number;
  readonly confirmed: number;
  readonly arrivals: number;
  readonly departures: number;
  readonly processed: number;
  readonly kills: number;
}

export interface LineResult {
  readonly count: number;
  readonly heldBack: readonly number[];
  readonly queues: readonly QueueEvidence[];
  /** How many flights each queue should have got. */
  readonly expected: readonly number[];
  /** From the first publish to the last confirm; to the last delivery; to the end of the drain. */
  readonly seconds: { readonly published: number; readonly delivered: number; readonly drained: number };
  readonly kills: number;
  readonly republished: number;
  readonly redelivered: number;
  /** Published again, recognised by the message-id, and dropped: over all destinations and all starts of the node. */
  readonly duplicatesDropped: number;
}

const CONNECTIONS = 3;
const POLL_MS = 50;
const STATUS_MS = 500;
/** Nothing moves for so long: something hangs, and it is better to say so. */
const STALLED_MS = 60_000;

export class Line {
  private publisher!: PublisherProcess;
  private consumers: ConsumerProcess[] = [];
  private readonly failure: Promise<never>;
  private fail!: (what: string) => void;
  private status: NodeStatus | undefined;
  private count = 0;
  private kills = 0;
  private processed = 0;
  private duplicatesOfEarlierStarts = 0;
  private ended = false;

  constructor(
    private readonly node: NodeProcess,
    private readonly children: Children,
    private readonly options: LineOptions,
    private readonly show: (progress: LineProgress) => void,
  ) {
    this.failure = new Promise((_, reject) => {
      this.fail = (what) => reject(new Error(what));
    });
    this.failure.catch(() => undefined);
  }

  async run(): Promise<LineResult> {
    const watching = this.watch();
    try {
      return await Promise.race([this.lead(), this.failure]);
    } finally {
      this.ended = true;
      await watching;
    }
  }

  private async lead(): Promise<LineResult> {
    const { kills, seed } = this.options;
    await this.node.start(crashPointOf(kills[0]));
    const { heldBack, queues, expected } = await this.startClients();
    const startedAt = performance.now();
    const since = (): number => (performance.now() - startedAt) / 1000;
    const random = new Random(seed);
    const part = this.count / (kills.length + 1);
    for (const [index, kill] of kills.entries()) {
      const limit = Math.floor(part * (index + 1));
      if (kill.at === "random moment") await this.killOnTheWay(limit - Math.ceil(random.next() * part), limit);
      else await this.diesAt(kill.step, limit);
      this.kills++;
      this.duplicatesOfEarlierStarts += duplicatesIn(this.status);
      this.status = undefined;
      await this.node.start(crashPointOf(kills[index + 1]));
    }
    this.publisher.go(this.count);
    const done = await this.aliveUntil(this.publisher.done);
    await this.aliveUntil(this.delivered(expected));
    const delivered = since();
    const redelivered = this.consumers.reduce((sum, consumer) => sum + consumer.progress.redelivered, 0);
    await Promise.all(this.consumers.map((consumer) => consumer.finish()));
    this.publisher.close();
    await this.readStatus();
    await this.node.drain();
    return {
      count: this.count,
      heldBack,
      queues,
      expected,
      seconds: { published: done.seconds, delivered, drained: since() },
      kills: this.kills,
      republished: done.republished,
      redelivered,
      duplicatesDropped: this.duplicatesOfEarlierStarts + duplicatesIn(this.status),
    };
  }

  private async startClients(): Promise<{
    readonly heldBack: readonly number[];
    readonly queues: readonly QueueEvidence[];
    readonly expected: readonly number[];
  }> {
    const { events, disorderMs, heldBackOneIn, heldBackMs, seed, directory } = this.options;
    const { port } = this.node;
    const settings = { port, flights: flightsPath, events, connections: CONNECTIONS, disorderMs, heldBackOneIn, heldBackMs, seed };
    this.publisher = new PublisherProcess(this.children, settings, this.fail);
    const { count, heldBack } = await this.publisher.loaded;
    this.count = count;
    const evidence = (name: string, column: QueueEvidence["column"]): QueueEvidence => {
      return { name, column, airport: "SFO", seenFile: path.join(directory, `${name}.csv`) };
    };
    const queues = [evidence(DEPARTURES, "origin"), evidence(ARRIVALS, "destination")];
    this.consumers = queues.map(({ name, seenFile }) => {
      const program = name === ARRIVALS ? "consumerAmqplib" : "consumerRabbitmqClient";
      return new ConsumerProcess(this.children, program, { port, queue: name, count, seenFile }, this.fail);
    });
    await Promise.all(this.consumers.map((consumer) => consumer.ready));
    await using db = await DuckDb.open();
    const expected = queues.map(({ column, airport }) =>
      db.number(`select count(*) from read_parquet(${quoted(flightsPath)}, file_row_number = true)
        where file_row_number < ${count} and ${column} = ${quoted(airport)}`),
    );
    return { heldBack, queues, expected: await Promise.all(expected) };
  }

  /** With messages unconfirmed and deliveries unacknowledged, as the publisher goes past a flight. */
  private async killOnTheWay(id: number, limit: number): Promise<void> {
    await this.aliveUntil(this.publisher.goPast(id, limit));
    await this.node.kill();
  }

  /** The node kills itself, at the crash point that it was started with; the part's flights are what it works on. */
  private async diesAt(step: string, limit: number): Promise<void> {
    this.publisher.go(limit);
    const { signal } = await this.node.exited();
    if (signal !== "SIGKILL") throw await this.node.failure(`the node ended by itself before it came to the step '${step}'`);
  }

  /** The node must not end while something else is waited for. */
  private aliveUntil<T>(awaited: Promise<T>): Promise<T> {
    const died = this.node.exited().then(async ({ code, signal }) => {
      throw await this.node.failure(`the node ended by itself (${code === null ? signal : `exit code ${code}`})`);
    });
    died.catch(() => undefined); // after the drain it ends, and nobody waits for it
    return Promise.race([awaited, died]);
  }

  private async delivered(expected: readonly number[]): Promise<void> {
    while (!this.ended && this.consumers.some((consumer, index) => consumer.progress.seen < (expected[index] as number)))
      await sleep(POLL_MS);
  }

  /** Shows the progress, asks the node how it is, and notices when nothing moves any more. */
  private async watch(): Promise<void> {
    let last = "";
    let movedAt = performance.now();
    let askedAt = 0;
    while (!this.ended) {
      await sleep(POLL_MS);
      if (performance.now() - askedAt > STATUS_MS) {
        askedAt = performance.now();
        await this.readStatus();
      }
      const progress = this.progress();
      if (this.count > 0) this.show(progress);
      const now = JSON.stringify([progress, this.status?.pipelines]);
      if (now !== last) movedAt = performance.now();
      last = now;
      if (performance.now() - movedAt < STALLED_MS) continue;
      const error = await this.node.failure(`nothing has moved for ${STALLED_MS / 1000} s: ${now}`);
      return this.fail(error.message);
    }
  }

  private async readStatus(): Promise<void> {
    const status = await this.node.status();
    if (status !== undefined) this.status = status;
    // a start begins to count anew until its first checkpoint is read
    this.processed = Math.max(this.processed, status?.pipelines[0]?.task?.recordsIn ?? 0);
    const failed = status?.pipelines.find((pipeline) => pipeline.state === "failed");
    if (failed !== undefined) this.fail(`the pipeline ${failed.name} failed: ${JSON.stringify(failed.error, undefined, 2)}`);
  }

  private progress(): LineProgress {
    const [departures, arrivals] = this.consumers;
    return {
      count: this.count,
      confirmed: this.publisher?.progress.confirmed ?? 0,
      arrivals: arrivals?.progress.seen ?? 0,
      departures: departures?.progress.seen ?? 0,
      processed: this.processed,
      kills: this.kills,
    };
  }
}

function duplicatesIn(status: NodeStatus | undefined): number {
  if (status === undefined) return 0;
  return [...status.broker.topics, ...status.broker.queues].reduce((sum, { duplicates }) => sum + duplicates, 0);
}
