/**
 * One run: a node on a simulated disk and clock, beside models of what it promised, driven by random operations, faults and ends of the
 * process. The seed decides everything.
 */

import { Random } from "../../src/base/random.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { SimulatedClock } from "../support/simulatedClock.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { AfterStart, type StartedWorld } from "./afterStart.ts";
import { Appending } from "./appending.ts";
import { flipSomeBit } from "./bitFlips.ts";
import { CompactionWatch } from "./compactionWatch.ts";
import { Damage } from "./damage.ts";
import { Faults } from "./faults.ts";
import { Keying } from "./keying.ts";
import type { Ending, Moment } from "./partitionModel.ts";
import { Queueing } from "./queueing.ts";
import { Reading } from "./reading.ts";
import { LogLines, type NodeSettings, SimulatedNode, textOf, topicsDirectory } from "./simulatedNode.ts";
import { firstTopics, TopicLives } from "./topicLives.ts";
import type { TopicModel } from "./topicModel.ts";
import { Transacting } from "./transacting.ts";
import { demand, Violation } from "./violation.ts";
import { codeOf, type Operation, type Settled, unexpected } from "./world.ts";

export interface SimulationResult {
  /** How often each operation was run, each fault met and each consequence seen. */
  readonly counters: Readonly<Record<string, number>>;
  /** What went wrong, if anything. */
  readonly failure: string | undefined;
  /** A promise was not kept; else it was something that nobody expected, maybe a mistake of the simulation. */
  readonly isViolation: boolean;
}

/** 2026-01-01 */
const beginMs = 1_767_225_600_000;
/** As long as an operation is waited for before the next one is begun beside it. */
const waitTurnsMax = 60;
/** After so many turns without an end something hangs. */
const endTurnsMax = 20_000;
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
  private readonly compaction = new CompactionWatch((what) => this.note(what));
  log = this.nextLog();
  life = 0;
  done = 0;
  current = "start";
  troubled = false;
  private clock = new SimulatedClock(beginMs);
  private fileSystem: SimulatedFileSystem;
  private running: SimulatedNode | undefined;
  private turn = 0;
  private lastId = 0;
  private restartIn = Number.POSITIVE_INFINITY;
  private reported: unknown;
  /** Since the last start that came to its end. */
  private powerLost = false;
  private powerLostBefore = false;
  private isSetUp = false;
  private diedAt: Moment = { ms: beginMs, turn: 0 };
  private everTroubled = false;
  /** It may have been about to cut what was not synced. */
  private diedInTrouble = false;
  /** Nothing was delivered since a stop that came to its end. */
  private stopped = false;
  private readonly settings: NodeSettings;
  private readonly topics = new Map<string, TopicModel>();
  private readonly appending: Appending;
  private readonly reading: Reading;
  private readonly queueing: Queueing;
  private readonly transacting = new Transacting(this);
  private readonly keying = new Keying(this);
  private readonly damage = new Damage((what) => this.note(what));
  private readonly afterStart: AfterStart;
  private readonly faults: Faults;
  private readonly table: readonly Operation[];
  private readonly weights: number;

  constructor(
    seed: number,
    readonly trace: (line: () => string) => void,
  ) {
    const random = new Random(seed);
    this.random = random;
    this.fileSystem = new SimulatedFileSystem({
      seed,
      turnsMax: random.pick([0, 1, 2]),
      forgottenStaysCached: seed % 2 === 0,
      met: (fault) => this.note(`fault: ${fault}`),
    });
    this.settings = {
      journalFileBytes: random.pick([4096, 8192]),
      journalFilesMax: random.pick([3, 3, 4, 12]),
      queueCacheBytesMax: random.pick([1, 300, 100_000]),
      openMax: random.pick([2, 5, 100]),
      diskReserveBytes: 4096,
    };
    this.appending = new Appending(this, this.topics);
    this.reading = new Reading(this, this.topics);
    this.queueing = new Queueing(this, this.appending);
    const { topics, appending, reading, queueing, transacting, keying, damage } = this;
    this.afterStart = new AfterStart(this, { topics, appending, reading, queueing, transacting, keying }, damage);
    this.faults = new Faults(this, () => this.fileSystem);
    for (const topic of [...firstTopics(), ...this.queueing.streams]) this.topics.set(topic.name, topic);
    const lives = new TopicLives(this, this.topics, this.reading);
    const own: Operation[] = [
      { name: "wait", weight: 6, run: () => this.turns(this.random.below(40)) },
      { name: "wait for long", weight: 1, run: () => this.waitLong() },
      { name: "restart", weight: 3, run: () => this.restart() },
      { name: "a second process", weight: 1, run: () => this.secondProcess() },
      { name: "a flipped bit", weight: 1, run: () => this.spoil() },
    ];
    const parts = [this.appending, this.reading, lives, this.queueing, this.transacting, this.keying, this.faults];
    this.table = [...parts.flatMap((part) => part.operations), ...own];
    for (const { name } of this.table) this.counters.set(`operation: ${name}`, 0);
    this.weights = this.table.reduce((sum, { weight }) => sum + weight, 0);
  }

  async run(operations: number): Promise<void> {
    await this.start();
    await this.setUp();
    for (this.done = 0; this.done < operations; this.done++) {
      const operation = this.pick();
      this.current = operation.name;
      this.note(`operation: ${operation.name}`);
      this.trace(() => `${this.done} ${this.life}: ${operation.name}`);
      await operation.run();
      await this.turns(this.random.below(4));
      this.checkReported();
      if (this.restartIn-- <= 0) await this.restart();
    }
    this.current = "the end";
    this.faults.heal();
    await this.restart();
    await this.restart("clean");
    this.checkReported();
  }

  abandon(): void {
    this.life++;
    this.clock.next();
    this.fileSystem.kill();
  }

  // ---- for the operations

  get node(): SimulatedNode {
    return this.running as SimulatedNode;
  }

  now(): Moment {
    return { ms: this.clock.now(), turn: this.turn };
  }

  async turns(count: number): Promise<void> {
    for (let n = 0; n < count; n++) await this.oneTurn(1);
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

  restartSoon(why: string): void {
    if (this.restartIn !== Number.POSITIVE_INFINITY) return;
    this.note(`a restart is needed: ${why}`);
    this.restartIn = this.random.below(30);
  }

  nextId(): number {
    return ++this.lastId;
  }

  // ---- within

  private async oneTurn(ms: number): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.turn++;
    this.clock.advance(ms);
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
    if (this.storeFailed) this.restartSoon("a store takes nothing more");
  }

  private get storeFailed(): boolean {
    return this.log.lines.some((line) => line.startsWith("keyed store failed"));
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
    this.isSetUp = true;
  }

  async mustEnd<T>(promise: Promise<T>, what: string): Promise<T> {
    const outcome = await this.until(promise, endTurnsMax);
    if (outcome === undefined) throw new Violation(`${what} does not come to an end`);
    if (outcome.error !== undefined) throw unexpected(what, outcome.error);
    return outcome.value as T;
  }

  /** Hours, in steps: timers come one after the other, and what they begin has turns to run in. */
  private async waitLong(): Promise<void> {
    const hours = this.random.pick([1, 6, 30]);
    for (let step = 0; step < 6; step++) {
      this.clock.advance((hours * 3_600_000) / 6);
      await this.turns(20);
    }
  }

  /** The directory belongs to the process that runs, whatever another one tries. */
  private async secondProcess(): Promise<void> {
    const { fileSystem } = this;
    const surroundings = { ...this.surroundings(), fileSystem, processes: this.processes(this.pid + 1_000_000) };
    const outcome = await this.until(SimulatedNode.start(surroundings, this.settings, new LogLines()), endTurnsMax);
    const code = codeOf(outcome?.error);
    if (code === "DATA_DIRECTORY_LOCKED") {
      demand(
        String(outcome?.error).includes(String(this.pid)),
        () => `a second process is refused without the first one's pid: ${textOf(outcome?.error)}`,
      );
      return this.note("fault: a second process on the directory is refused");
    }
    if (this.troubled && ["EIO", "ENOSPC"].includes(code)) return;
    throw unexpected("a second process on the directory", outcome?.error ?? new Error("it was let in"));
  }

  /** The disk spoils something; the process ends, another one starts, or refuses to; then it is as it was, and everything must be there again. */
  private async spoil(): Promise<void> {
    const flip = flipSomeBit(this.fileSystem, this.random);
    if (flip === undefined) return;
    this.damage.begin(flip);
    this.trace(() => `${flip.extent} is damaged in ${flip.file} at byte ${flip.position}`);
    this.troubled = true;
    await this.restart();
    this.followDamage();
    this.damage.undo();
    const { powerLostBefore, diedAt, diedInTrouble } = this;
    this.die("kill");
    // of what was damaged nothing was compared yet: it counts how the process before ended
    Object.assign(this, { diedAt, diedInTrouble, powerLost: powerLostBefore });
    await this.start();
    this.damage.over();
  }

  followDamage(): void {
    this.damage.follow(this.log.lines);
  }

  // ---- starts and ends

  private get pid(): number {
    return 100 + this.life;
  }

  private processes(ownPid: number) {
    const identity = async (pid: number): Promise<string | undefined> =>
      pid === this.pid || pid === ownPid ? `process ${pid}` : undefined;
    return { ownPid, identity };
  }

  private surroundings() {
    const { clock } = this;
    return { fileSystem: this.compaction.around(this.fileSystem), clock, processes: this.processes(this.pid), pause: () => this.turns(3) };
  }

  private async restart(how: Ending = this.random.pick<Ending>(["clean", "kill", "kill", "power", "power", "power"])): Promise<void> {
    this.note(`fault: end by ${how}`);
    if (how === "clean") await this.stop();
    const powerToo = how === "clean" && this.random.below(3) === 0;
    this.die(how === "power" || powerToo ? "power" : "kill");
    await this.start();
  }

  private async stop(): Promise<void> {
    this.stopped = true; // a part of it may come to its end, and say so
    const outcome = await this.until(this.node.stop(), endTurnsMax);
    if (outcome === undefined) throw new Violation("a stop does not come to an end");
    if (outcome.error !== undefined) {
      if (!this.troubled) throw unexpected("a clean stop", outcome.error);
      return this.note("a stop fails and says so");
    }
    if (this.restartIn !== Number.POSITIVE_INFINITY || this.troubled) return; // what was in trouble may not have been synced
    if (!this.everTroubled) await this.verify();
    for (const topic of this.topics.values()) for (const model of topic.partitions) model.stopped();
    this.keying.stopped();
    this.queueing.stopped();
  }

  private die(how: "kill" | "power"): void {
    this.followDamage();
    this.life++;
    this.trace(() => `end by ${how}`);
    if (this.running !== undefined) {
      this.diedAt = this.now();
      this.diedInTrouble = this.troubled;
      this.everTroubled ||= this.troubled;
    }
    this.running = undefined;
    this.compaction.died(how);
    this.clock = this.clock.next();
    if (how === "power") this.powerLost = true;
    this.fileSystem = how === "power" ? this.fileSystem.crash() : this.fileSystem.kill();
    this.faults.heal();
    this.troubled = false;
    this.restartIn = Number.POSITIVE_INFINITY;
    this.log = this.nextLog();
  }

  private nextLog(): LogLines {
    return new LogLines(
      (line) => this.trace(line),
      (message) => this.compaction.informed(message),
    );
  }

  /** Starts until one comes to its end: some are killed on their way, and on some the disk fails. */
  private async start(): Promise<void> {
    while (this.running === undefined) {
      const disturbed = this.life > 0 && this.random.below(5) === 0;
      if (disturbed && this.random.below(2) === 0) {
        this.faults.arm();
        this.note("a start with a fault");
      }
      const starting = SimulatedNode.start(this.surroundings(), this.settings, this.log);
      starting.catch(() => undefined);
      const outcome = await this.until(starting, disturbed && !this.troubled ? this.random.below(60) : endTurnsMax);
      if (outcome?.value !== undefined && this.storeFailed) {
        this.note("a start ends with a store that takes nothing more");
        this.die("kill");
      } else if (outcome?.value !== undefined) {
        this.running = outcome.value;
        this.compaction.started();
      } else {
        if (outcome === undefined) demand(disturbed && !this.troubled, () => "a start does not come to an end");
        else if (this.damage.now !== undefined && textOf(outcome.error).includes(this.damage.now.file)) this.damage.refused();
        else if (!this.troubled) throw unexpected("a start", outcome.error);
        this.note(outcome === undefined ? "a start is killed on its way" : "a start fails and says so");
        this.die(this.random.below(2) === 0 ? "power" : "kill");
      }
    }
    this.faults.heal();
    // a failed catalog or topology stays one until the next start
    this.troubled = this.log.lines.some((line) => line.startsWith("keyed store failed"));
    if (this.isSetUp) await this.look();
    this.stopped = false;
  }

  private async look(): Promise<void> {
    const { powerLost, diedInTrouble: inTrouble, diedAt: at, stopped } = this;
    await this.afterStart.look({ powerLost, inTrouble, at, stopped });
    this.powerLostBefore = powerLost;
    this.powerLost = false;
  }

  /** The tool for operators has nothing to say of what no disk has spoiled. */
  private async verify(): Promise<void> {
    const { problems } = await this.mustEnd(
      verifyLog(this.fileSystem, topicsDirectory, () => undefined),
      "verifying the log",
    );
    // an index that was lost while compaction put a segment in the place of another is made again by upkeep
    const found = problems.filter(({ kind, file }) => kind !== "index" || this.keying.topicOf(file) === undefined);
    demand(found.length === 0, () => `verify finds ${found.map((problem) => textOf(problem)).join("; ")}`);
    this.note("the log is verified");
  }
}
