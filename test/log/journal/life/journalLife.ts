import path from "node:path";
import type { QueueJournal } from "../../../../src/log/contract/queueJournal.ts";
import { SimulatedFileSystem, type SyncKind } from "../../../support/simulatedFileSystem.ts";
import { judge, Replayed } from "../journalModel.ts";
import type { BranchesMet } from "./branches.ts";
import { JournalProcess } from "./journalProcess.ts";
import { LifeModel } from "./lifeModel.ts";
import { Steps } from "./steps.ts";
import { turns } from "./turnClock.ts";

/** A life has one of these: with many files none of them is emptied, they become free by themselves. */
const filesMax = [3, 4, 4, 40];

/** @param down a write failed, and the journal has not gone on yet */
export type IgnoreSync = (path: string, kind: SyncKind, lastNameChange: string, opening: boolean, down: boolean) => boolean;

export interface LifeOptions {
  readonly ignoreSync?: IgnoreSync;
  /** The disk refuses now and then. */
  readonly faulty?: boolean;
  /** Every process dies with power right after the last of these changes of names, which come in this order: "rename a b", "remove a". */
  readonly diesAfter?: readonly RegExp[];
}

const never = new Promise<never>(() => undefined);

/** One journal from its first start on through crashes, kills and closings, on a simulated disk. */
export class JournalLife {
  private readonly model: LifeModel;
  private readonly filesMax: number;
  private process: JournalProcess;

  constructor(
    private readonly seed: number,
    private readonly options: LifeOptions = {},
  ) {
    this.model = new LifeModel(seed, options.faulty === true);
    this.filesMax = this.model.random.pick(filesMax);
    const { ignoreSync } = options;
    const ignore = (path: string, kind: SyncKind, change: string): boolean =>
      ignoreSync?.(path, kind, change, this.process.isOpening, this.process.isDown) === true;
    this.process = this.processOn(new SimulatedFileSystem({ seed, forgottenStaysCached: seed % 2 === 0, ignoreSync: ignore }));
  }

  get branches(): BranchesMet {
    return this.model.branches;
  }

  /** @returns what went wrong, if anything */
  async run(processes: number): Promise<string | undefined> {
    for (let count = 0; count < processes; count++) {
      if (count > 0) await this.model.branches.lookAtDisk(this.process.fileSystem);
      const wrong = await this.oneProcess(this.process);
      if (wrong !== undefined) return `seed ${this.seed}, process ${count}: ${wrong}`;
    }
    return undefined;
  }

  private processOn(fileSystem: SimulatedFileSystem): JournalProcess {
    return new JournalProcess(this.model, fileSystem, this.filesMax);
  }

  private end(how: "power" | "any" = "any"): undefined {
    this.process = this.processOn(this.process.end(how));
  }

  private async oneProcess(process: JournalProcess): Promise<string | undefined> {
    const { random, branches } = this.model;
    const replayed = new Replayed(process.tenants());
    const opened = process.open(replayed);
    if (random.below(8) === 0) {
      opened.catch(() => undefined);
      await turns(random.below(12));
      this.end();
      await opened.catch(() => undefined); // what it still does, it does to a dead machine
      return undefined;
    }
    let journal: QueueJournal;
    try {
      journal = await opened;
    } catch (error) {
      return String(error);
    }
    if (process.damageSaid.length > 0) return `the start says: ${process.damageSaid[0]}`;
    process.isOpening = false;
    await replayed.loadRuns(1 + random.below(20));
    const steps = new Steps(this.model, process, journal);
    const wrong = this.takeOver(journal, replayed) ?? (await steps.readAll());
    if (wrong !== undefined) return wrong;
    const { diesAfter } = this.options;
    const death = this.death(process);
    for (let left = random.below(diesAfter === undefined ? 60 : 200); left > 0; left--) {
      const failure = await Promise.race([steps.step(), death]);
      if (failure === "dead") return this.end("power");
      if (failure !== undefined) return failure;
    }
    branches.sawFault("an end while the journal was down", process.isDown);
    if (random.below(5) === 0 && (await Promise.race([this.close(process, journal), death])) === "dead") return this.end("power");
    return this.end();
  }

  private async close(process: JournalProcess, journal: QueueJournal): Promise<void> {
    try {
      await journal.close();
    } catch {
      return;
    }
    // after a failure it may have given up what nobody was promised
    if (process.isOver || journal.stats.failures > 0) return;
    for (const message of this.model.messages) this.model.durable(message, new Set(message.live.keys()));
  }

  /** Resolves when the power goes at a moment that random steps hardly ever hit. */
  private death(process: JournalProcess): Promise<"dead"> {
    const { random } = this.model;
    const { diesAfter } = this.options;
    if (diesAfter === undefined) return random.below(3) === 0 ? diesAtChange(process, this.reuse()) : never;
    let seen = 0;
    return diesAtChange(process, (change) => {
      if (diesAfter[seen]?.test(change) === true) seen++;
      return seen === diesAfter.length;
    });
  }

  /** Between the renaming of a file that is to be used again and the sync of that, best after a list of what is gone. */
  private reuse(): (change: string) => boolean {
    let listed = false;
    return (change) => {
      if (/^rename .*\.dead-making /.test(change)) listed = true;
      return /^rename .*\.journal /.test(change) && this.model.random.below(listed ? 1 : 6) === 0;
    };
  }

  /** The model goes on with what a start has found, if that is as it must be. */
  private takeOver(journal: QueueJournal, replayed: Replayed): string | undefined {
    const { model, process } = this;
    const verdict = judge(model.messages, replayed);
    if (typeof verdict === "string") return verdict;
    model.messages = verdict;
    const inRuns = new Set(replayed.copies.map(({ position }) => position));
    for (const { live, remembered } of verdict) {
      for (const position of remembered.values()) journal.pin(position);
      for (const position of live.values()) if (position !== undefined && !inRuns.has(position)) journal.pin(position);
    }
    for (const run of replayed.runs) {
      model.branches.saw("a restart that finds a run", run.live > 0);
      if (model.random.below(4) > 0) process.parts.forgetPlaces(run, run.firstOffset, run.lastOffset);
    }
    model.nextOffset.clear();
    for (const [queue, offset] of replayed.nextOffset) model.nextOffset.set(queue, offset);
    return undefined;
  }
}

/** The operation never returns to the journal. */
function diesAtChange(process: JournalProcess, isDue: (change: string) => boolean): Promise<"dead"> {
  const { fileSystem } = process;
  const rename = fileSystem.rename.bind(fileSystem);
  const removeFile = fileSystem.removeFile.bind(fileSystem);
  return new Promise((resolve) => {
    const changed = async (change: string): Promise<void> => {
      if (process.isOver || !isDue(change)) return;
      resolve("dead");
      await never;
    };
    fileSystem.rename = async (from, to) => {
      await rename(from, to);
      await changed(`rename ${path.basename(from)} ${path.basename(to)}`);
    };
    fileSystem.removeFile = async (file) => {
      await removeFile(file);
      await changed(`remove ${path.basename(file)}`);
    };
  });
}
