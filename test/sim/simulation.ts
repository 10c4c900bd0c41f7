/**
 * One run: a node on a simulated disk and clock, beside models of what it promised, driven by random operations, faults and ends of the
 * process. The seed decides everything.
 */

import { Random } from "../../src/base/random.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import type { StartedWorld } from "./afterStart.ts";
import { Appending } from "./appending.ts";
import { GoingOn } from "./goingOn.ts";
import { Keying } from "./keying.ts";
import type { Moment } from "./partitionModel.ts";
import { Processes } from "./processes.ts";
import { Queueing } from "./queueing.ts";
import { Reading } from "./reading.ts";
import type { LogLines, SimulatedNode } from "./simulatedNode.ts";
import { firstTopics, TopicLives } from "./topicLives.ts";
import type { TopicModel } from "./topicModel.ts";
import { Transacting } from "./transacting.ts";
import { Violation } from "./violation.ts";
import { endTurnsMax, type Operation, type Settled, unexpected } from "./world.ts";

export interface SimulationResult {
  /** How often each operation was run, each fault met and each consequence seen. */
  readonly counters: Readonly<Record<string, number>>;
  /** What went wrong, if anything. */
  readonly failure: string | undefined;
  /** A promise was not kept; else it was something that nobody expected, maybe a mistake of the simulation. */
  readonly isViolation: boolean;
}

/** At the end of a run, with a disk that fills up: enough for most partitions to be refused. */
const fullOperations = 30;
const hourMs = 3_600_000;
/** As long as an operation is waited for before the next one is begun beside it. */
const waitTurnsMax = 60;
/** From here on waiting takes larger steps of time: retries come seconds later. */
const slowTurns = 300;

export async function simulate(seed: number, operations: number, trace?: (line: string) => void): Promise<SimulationResult> {
  const simulation = new Simulation(seed, (line) => trace?.(line()));
  let failure: string | undefined;
  let isViolation = false;
  try {
    await simulation.run(operations);
  } catch (error) {
    isViolation = error instanceof Violation;
    failure = isViolation ? (error as Violation).message : textWithStack(error);
    failure += `\n  at operation ${simulation.done} (${simulation.current}), in process ${simulation.life}`;
    const lines = simulation.log.lines.slice(-6);
    failure += lines.map((line) => `\n  log: ${line.replaceAll("\n", " ").slice(0, 400)}`).join("");
  }
  simulation.abandon();
  return { counters: Object.fromEntries([...simulation.counters].sort(([a], [b]) => (a < b ? -1 : 1))), failure, isViolation };
}

const textWithStack = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

class Simulation implements StartedWorld {
  readonly random: Random;
  readonly counters = new Map<string, number>();
  done = 0;
  current = "start";
  private turn = 0;
  private lastId = 0;
  private reported: unknown;
  private readonly topics = new Map<string, TopicModel>();
  private readonly appending: Appending;
  private readonly reading: Reading;
  private readonly queueing: Queueing;
  private readonly transacting = new Transacting(this);
  private readonly keying = new Keying(this);
  private readonly processes: Processes;
  private readonly goingOn: GoingOn;
  private readonly table: readonly Operation[];
  private readonly weights: number;

  constructor(
    seed: number,
    readonly trace: (line: () => string) => void,
  ) {
    const random = new Random(seed);
    this.random = random;
    const fileSystem = new SimulatedFileSystem({
      seed,
      turnsMax: random.pick([0, 1, 2]),
      forgottenStaysCached: seed % 2 === 0,
      met: (fault) => this.note(`fault: ${fault}`),
    });
    const settings = {
      journalFileBytes: random.pick([4096, 8192]),
      journalFilesMax: random.pick([3, 3, 4, 12]),
      queueCacheBytesMax: random.pick([1, 300, 100_000]),
      openMax: random.pick([1, 2, 5, 100]),
      diskReserveBytes: 4096,
    };
    const { topics, transacting, keying } = this;
    const appending = new Appending(this, topics);
    this.appending = appending;
    const reading = new Reading(this, topics);
    const queueing = new Queueing(this, appending);
    this.reading = reading;
    this.queueing = queueing;
    this.processes = new Processes(this, fileSystem, settings, { topics, appending, reading, queueing, transacting, keying });
    for (const topic of [...firstTopics(), ...queueing.streams]) topics.set(topic.name, topic);
    const lives = new TopicLives(this, topics, reading);
    const parts = [appending, reading, lives, queueing, transacting, keying, this.processes.faults];
    this.table = [
      ...parts.flatMap((part) => part.operations),
      { name: "wait", weight: 6, run: () => this.turns(this.random.below(40)) },
      { name: "wait for long", weight: 1, run: () => this.pass(this.random.pick([1, 6, 30]) * hourMs) },
      ...this.processes.operations,
      { name: "much at once, and the power goes", weight: 1, run: () => this.burst() },
    ];
    this.goingOn = new GoingOn(this, appending, queueing);
    for (const { name } of this.table) this.counters.set(`operation: ${name}`, 0);
    this.weights = this.table.reduce((sum, { weight }) => sum + weight, 0);
  }

  async run(operations: number): Promise<void> {
    await this.processes.start();
    await this.setUp();
    await this.operate(operations);
    this.processes.faults.fill();
    await this.operate(fullOperations);
    this.current = "the end";
    this.processes.faults.heal();
    await this.goingOn.check();
    await this.processes.restart();
    await this.processes.restart("clean");
    this.checkReported();
  }

  private async operate(operations: number): Promise<void> {
    for (let n = 0; n < operations; n++, this.done++) {
      const operation = this.pick();
      this.current = operation.name;
      this.note(`operation: ${operation.name}`);
      this.trace(() => `${this.done} ${this.life}: ${operation.name}`);
      await operation.run();
      await this.turns(this.random.below(4));
      this.checkReported();
    }
  }

  abandon(): void {
    this.processes.abandon();
  }

  // ---- for the operations

  get node(): SimulatedNode {
    return this.processes.node;
  }

  get life(): number {
    return this.processes.life;
  }

  get troubled(): boolean {
    return this.processes.troubled;
  }

  set troubled(troubled: boolean) {
    this.processes.troubled = troubled;
  }

  get log(): LogLines {
    return this.processes.log;
  }

  now(): Moment {
    return { ms: this.processes.clock.now(), turn: this.turn };
  }

  async turns(count: number): Promise<void> {
    for (let n = 0; n < count; n++) await this.oneTurn(1);
  }

  async pass(ms: number, steps = 6): Promise<void> {
    for (let step = 0; step < steps; step++) {
      this.processes.clock.advance(ms / steps);
      await this.turns(20);
    }
  }

  async until<T>(promise: Promise<T>, turnsMax = waitTurnsMax): Promise<Settled<T> | undefined> {
    const settled: Settled<T>[] = [];
    promise.then(
      (value) => settled.push({ value }),
      (error: unknown) => settled.push({ error: error ?? new Violation("a failure without a reason") }),
    );
    for (let n = 0; n < turnsMax && settled.length === 0; n++) await this.oneTurn(n > slowTurns ? 100 : 1);
    return settled[0];
  }

  note(what: string): void {
    if (what.startsWith("fault: E")) this.trace(() => what);
    this.counters.set(what, (this.counters.get(what) ?? 0) + 1);
  }

  report(violation: unknown): void {
    this.reported ??= violation;
  }

  nextId(): number {
    return ++this.lastId;
  }

  async mustEnd<T>(promise: Promise<T>, what: string): Promise<T> {
    const outcome = await this.until(promise, endTurnsMax);
    if (outcome === undefined) throw new Violation(`${what} does not come to an end`);
    if (outcome.error !== undefined) throw unexpected(what, outcome.error);
    return outcome.value as T;
  }

  followDamage(): void {
    this.processes.followDamage();
  }

  // ---- within

  private async oneTurn(ms: number): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.turn++;
    this.processes.clock.advance(ms);
  }

  private pick(): Operation {
    let at = this.random.below(this.weights);
    for (const operation of this.table) {
      at -= operation.weight;
      if (at < 0) return operation;
    }
    throw new Error("the weights do not add up");
  }

  private checkReported(): void {
    if (this.reported !== undefined) throw this.reported;
  }

  /** On the way, or in the moment in which the last of it is answered. */
  private async burst(): Promise<void> {
    const sent = this.random.below(2) === 0 ? this.appending.burst() : this.queueing.publishing.burst();
    sent.catch((error: unknown) => this.report(error));
    if (this.random.below(2) === 0) await this.turns(this.random.below(40));
    else await this.until(sent);
    await this.processes.restart("power");
  }

  private async setUp(): Promise<void> {
    for (const topic of this.topics.values()) {
      if (topic.isStream) continue;
      await this.mustEnd(this.node.log.createTopic(topic.name, topic.config), "creating the first topics");
      topic.existence = "there";
      this.reading.watch(topic);
    }
    await this.mustEnd(this.transacting.create(), "creating the topics with transactions");
    await this.mustEnd(this.keying.create(), "creating the compacted topics");
    await this.mustEnd(this.queueing.declare(), "declaring the queues");
    for (const stream of this.queueing.streams) this.reading.watch(stream);
    this.processes.isSetUp = true;
  }
}
