/** The processes of a run, one after the other on one disk: how they start and end, and what must be there then. */
import type { Random } from "../../src/base/random.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { SimulatedClock } from "../support/simulatedClock.ts";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { AfterStart, type Parts, type StartedWorld } from "./afterStart.ts";
import { flipSomeBit } from "./bitFlips.ts";
import { CompactionWatch } from "./compactionWatch.ts";
import { Damage } from "./damage.ts";
import { Faults } from "./faults.ts";
import type { Ending, Moment } from "./partitionModel.ts";
import { dataDirectory, LogLines, type NodeSettings, SimulatedNode, textOf, topicsDirectory } from "./simulatedNode.ts";
import { demand, Violation } from "./violation.ts";
import { codeOf, endTurnsMax, type Operation, unexpected } from "./world.ts";

/** 2026-01-01 */
const beginMs = 1_767_225_600_000;

/** A store that failed tries again at least every five seconds. */
const storeTriesMax = 100;

export class Processes {
  log: LogLines;
  /** Counts them: the one that runs, or is starting. */
  life = 0;
  troubled = false;
  /** The first topics and queues are there: from now on a start is compared. */
  isSetUp = false;
  clock = new SimulatedClock(beginMs);
  readonly faults: Faults;
  private running: SimulatedNode | undefined;
  /** Since the last start that came to its end. */
  private powerLost = false;
  private powerLostBefore = false;
  private diedAt: Moment = { ms: beginMs, turn: 0 };
  private everTroubled = false;
  /** It may have been about to cut what was not synced; or a sync failed in a start after it, which may forget as much. */
  private diedInTrouble = false;
  /** Nothing was delivered since a stop that came to its end. */
  private stopped = false;
  private readonly compaction: CompactionWatch;
  private readonly damage: Damage;
  private readonly afterStart: AfterStart;

  constructor(
    private readonly world: StartedWorld,
    private fileSystem: SimulatedFileSystem,
    private readonly settings: NodeSettings,
    private readonly parts: Parts,
  ) {
    const note = (what: string): void => world.note(what);
    this.compaction = new CompactionWatch(note);
    this.damage = new Damage(note);
    this.log = this.nextLog();
    this.afterStart = new AfterStart(world, parts, this.damage);
    this.faults = new Faults(world, () => this.fileSystem);
  }

  get operations(): readonly Operation[] {
    return [
      { name: "restart", weight: 3, run: () => this.restart() },
      { name: "a second process", weight: 1, run: () => this.secondProcess() },
      { name: "a flipped bit", weight: 1, run: () => this.spoil() },
      { name: "the catalog and the topology take changes", weight: 1, run: () => this.storesGoOn() },
    ];
  }

  get node(): SimulatedNode {
    return this.running as SimulatedNode;
  }

  /** Nothing is done any more. */
  abandon(): void {
    this.life++;
    this.clock.next();
    this.fileSystem.kill();
  }

  /** Starts until one comes to its end: some are killed on their way, and on some the disk fails. */
  async start(): Promise<void> {
    while (this.running === undefined) {
      const disturbed = this.life > 0 && this.random.below(5) === 0;
      let syncMayFail = false;
      if (disturbed && this.random.below(2) === 0) {
        syncMayFail = this.faults.arm() === "sync";
        this.world.note("a start with a fault");
      }
      const starting = SimulatedNode.start(this.surroundings(), this.settings, this.log);
      starting.catch(() => undefined);
      const outcome = await this.world.until(starting, disturbed && !this.troubled ? this.random.below(60) : endTurnsMax);
      if (outcome?.value !== undefined) {
        this.running = outcome.value;
        this.compaction.started();
      } else {
        if (outcome === undefined) demand(disturbed && !this.troubled, () => "a start does not come to an end");
        else if (this.damage.now !== undefined && textOf(outcome.error).includes(this.damage.now.file)) {
          this.followDamage();
          this.damage.refused();
        } else if (!this.troubled) throw unexpected("a start", outcome.error);
        this.world.note(outcome === undefined ? "a start is killed on its way" : "a start fails and says so");
        if (outcome !== undefined) this.demandAllClosed("a start that failed");
        this.die(this.random.below(2) === 0 ? "power" : "kill");
        this.diedInTrouble ||= syncMayFail;
      }
    }
    this.faults.heal();
    // a failed catalog or topology may still be about to begin anew
    this.troubled = this.log.lines.some((line) => line.startsWith("keyed store failed"));
    if (this.isSetUp) {
      if (this.troubled) await this.storesGoOn(); // what is looked at may have to write to them
      await this.look();
    }
    this.stopped = false;
  }

  async restart(how: Ending = this.random.pick<Ending>(["clean", "kill", "kill", "power", "power", "power"])): Promise<void> {
    this.world.note(`fault: end by ${how}`);
    if (how === "clean") await this.stop();
    const spoiled = how === "clean" && this.damage.now === undefined && this.random.below(6) === 0 ? this.spoilStop() : undefined;
    const powerToo = how === "clean" && this.random.below(3) === 0;
    this.die(how === "power" || powerToo ? "power" : "kill");
    await this.start();
    if (spoiled !== undefined && this.log.lines.some((line) => line.includes(spoiled)))
      this.world.note("a flipped bit in .stopped is found and named");
  }

  followDamage(): void {
    this.damage.follow(this.log.lines);
  }

  // ---- within

  private get random(): Random {
    return this.world.random;
  }

  private async stop(): Promise<void> {
    this.stopped = true; // a part of it may come to its end, and say so
    if (this.random.below(8) === 0) this.faults.failStop();
    const outcome = await this.world.until(this.node.stop(), endTurnsMax);
    if (outcome === undefined) throw new Violation("a stop does not come to an end");
    this.demandAllClosed("a stop");
    if (outcome.error !== undefined) {
      if (!this.troubled) throw unexpected("a clean stop", outcome.error);
      return this.world.note("a stop fails and says so");
    }
    if (this.troubled) return; // what was in trouble may not have been synced
    if (!this.everTroubled) await this.verify();
    const { topics, keying, queueing } = this.parts;
    for (const topic of topics.values()) for (const model of topic.partitions) model.stopped();
    keying.stopped();
    queueing.stopped();
  }

  private die(how: "kill" | "power"): void {
    this.followDamage();
    this.life++;
    this.world.trace(() => `end by ${how}`);
    if (this.running !== undefined) {
      this.diedAt = this.world.now();
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
    this.log = this.nextLog();
  }

  private async look(): Promise<void> {
    const { powerLost, diedInTrouble: inTrouble, diedAt: at, stopped } = this;
    await this.afterStart.look({ powerLost, inTrouble, at, stopped });
    this.powerLostBefore = powerLost;
    this.powerLost = false;
  }

  /** The files of the readers of the topics are not the node's to close. */
  private demandAllClosed(after: string): void {
    const open = this.fileSystem.openFiles(({ where, writable }) => writable || !where.startsWith(topicsDirectory));
    demand(open.length === 0, () => `files are open after ${after}: ${open.join(", ")}`);
    this.world.note(`no file is open after ${after}`);
  }

  /** The tool for operators has nothing to say of what no disk has spoiled. */
  private async verify(): Promise<void> {
    const { problems } = await this.world.mustEnd(
      verifyLog(this.fileSystem, topicsDirectory, () => undefined),
      "verifying the log",
    );
    // an index that was lost while compaction put a segment in the place of another is made again by upkeep
    // and a snapshot that was not synced from the batches
    const found = problems.filter(
      ({ kind, file }) => kind !== "state" && (kind !== "index" || this.parts.keying.topicOf(file) === undefined),
    );
    demand(found.length === 0, () => `verify finds ${found.map((problem) => textOf(problem)).join("; ")}`);
    this.world.note("the log is verified");
  }

  /** The directory belongs to the process that runs, whatever another one tries. */
  private async secondProcess(): Promise<void> {
    const { fileSystem } = this;
    const surroundings = { ...this.surroundings(), fileSystem, processes: this.processes(this.pid + 1_000_000) };
    const outcome = await this.world.until(SimulatedNode.start(surroundings, this.settings, new LogLines()), endTurnsMax);
    const code = codeOf(outcome?.error);
    if (code === "DATA_DIRECTORY_LOCKED") {
      demand(
        String(outcome?.error).includes(String(this.pid)),
        () => `a second process is refused without the first one's pid: ${textOf(outcome?.error)}`,
      );
      return this.world.note("fault: a second process on the directory is refused");
    }
    if (this.troubled && ["EIO", "EMFILE", "ENOSPC"].includes(code)) return;
    throw unexpected("a second process on the directory", outcome?.error ?? new Error("it was let in"));
  }

  /** The disk spoils something; the process ends, another one starts, or refuses to; then it is as it was, and everything must be there again. */
  private async spoil(): Promise<void> {
    const flip = flipSomeBit(this.fileSystem, this.random);
    if (flip === undefined) return;
    this.damage.begin(flip, this.troubled);
    this.world.trace(() => `${flip.extent} is damaged in ${flip.file} at byte ${flip.position}`);
    this.troubled = true;
    await this.restart(flip.touched !== undefined && this.random.below(2) === 0 ? "kill" : undefined);
    this.followDamage();
    this.damage.undo();
    const { powerLostBefore, diedAt, diedInTrouble } = this;
    this.die("kill");
    // of what was damaged nothing was compared yet: it counts how the process before ended
    Object.assign(this, { diedAt, diedInTrouble, powerLost: powerLostBefore });
    await this.world.mustEnd(this.damage.putBack(this.fileSystem, flip), "putting a file back");
    await this.start();
    this.damage.over();
  }

  /** What a stop left of the queues only saves reading: the journal says the same, so nothing is lost with it. */
  private spoilStop(): string | undefined {
    const file = this.fileSystem.files(dataDirectory).find((one) => one.endsWith(".stopped"));
    if (file === undefined) return undefined;
    this.fileSystem.flip(file, this.random.below((this.fileSystem.peek(file) as Buffer).length), 1 << this.random.below(8));
    this.world.note("fault: a flipped bit in .stopped");
    return file;
  }

  /** On a disk that works they do again by themselves. */
  private async storesGoOn(): Promise<void> {
    this.faults.heal();
    for (const store of this.node.stores) {
      for (let tries = 0; ; tries++) {
        const outcome = await this.world.until(store.change(new Map()));
        if (outcome !== undefined && outcome.error === undefined) break;
        demand(codeOf(outcome?.error) === "KEYED_STORE_UNAVAILABLE", () => `a store is asked for changes: ${textOf(outcome?.error)}`);
        if (tries === 0) this.world.note("a keyed store takes nothing for a while");
        demand(tries < storeTriesMax, () => "a keyed store takes no changes although the disk works");
        this.clock.advance(100);
        await this.world.turns(1);
      }
    }
  }

  private nextLog(): LogLines {
    return new LogLines(
      (line) => this.world.trace(line),
      (message) => {
        if (message.startsWith("the queues are as the last stop left them")) this.world.note("a start need not read the journal");
        if (message === "a keyed store takes changes again") this.world.note("a keyed store that failed begins anew");
        this.compaction.informed(message);
      },
    );
  }

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
    return {
      fileSystem: this.compaction.around(this.fileSystem),
      clock,
      processes: this.processes(this.pid),
      pause: () => this.world.turns(3),
    };
  }
}
