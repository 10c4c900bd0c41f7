import { ByteBudget } from "../../../../src/base/byteBudget.ts";
import { type Logger, silentLogger } from "../../../../src/base/logger.ts";
import type { JournalTenants, JournalVisitor, QueueJournal } from "../../../../src/log/contract/queueJournal.ts";
import { openJournal } from "../../../../src/log/journal/openJournal.ts";
import { Receipt } from "../../../../src/record/receipt.ts";
import type { SimulatedFileSystem } from "../../../support/simulatedFileSystem.ts";
import { copyKey, type ModelMessage } from "../journalModel.ts";
import type { LifeModel } from "./lifeModel.ts";
import { RunParts } from "./runParts.ts";
import { TurnClock } from "./turnClock.ts";

const fileBytes = 4096;

/** A process with the journal, up to its end. What one that has ended still does is not heard, and comes to nothing. */
export class JournalProcess {
  readonly parts: RunParts;
  private readonly clock = new TurnClock();
  isOver = false;
  isOpening = true;
  /** A write failed, and the journal has not gone on yet. */
  isDown = false;
  readonly damageSaid: string[] = [];

  constructor(
    private readonly model: LifeModel,
    readonly fileSystem: SimulatedFileSystem,
    private readonly filesMax: number,
  ) {
    this.parts = new RunParts(model, () => this.isOver);
  }

  async open(visitor: JournalVisitor): Promise<QueueJournal> {
    const settings = {
      clock: this.clock,
      logger: this.logger(),
      budget: new ByteBudget("journal", 1024 * 1024),
      messageBytesMax: 100_000,
      fileBytes,
      bytesMax: fileBytes * this.filesMax,
      indexPageItems: 32,
    };
    return openJournal({ fileSystem: this.fileSystem, directory: "/journal", ...settings }, visitor);
  }

  /** @returns the disk that the next process finds */
  end(how: "power" | "any"): SimulatedFileSystem {
    this.isOver = true;
    this.clock.stop();
    return how === "any" && this.model.random.below(3) === 0 ? this.fileSystem.kill() : this.fileSystem.crash();
  }

  receipt(settled: () => void, failed: () => void = () => undefined): Receipt {
    return new Receipt((failure) => {
      if (this.isOver) return;
      if (failure === undefined) settled();
      else failed();
    });
  }

  /** The model, as the journal asks it. */
  tenants(): JournalTenants {
    const { model, parts } = this;
    const current = <T>(value: T): T | false => (this.isOver ? false : value);
    const find = (queue: number, offset: number, position: number): ModelMessage | undefined =>
      model.messages.find(({ live }) => live.get(copyKey({ queue, offset })) === position);
    const findId = (queue: number, id: string, position: number): ModelMessage | undefined =>
      model.messages.find(({ dedupeId, remembered }) => dedupeId === id && remembered.get(queue) === position);
    return {
      holds: (queue, offset, position) => current(find(queue, offset, position) !== undefined),
      remembers: (queue, id, position) => current(findId(queue, id, position) !== undefined),
      moved: (queue, offset, from, to) => {
        if (this.isOver) return false;
        model.branches.sawFault("a place told after a failure", to >= 0);
        return find(queue, offset, from)?.live.set(copyKey({ queue, offset }), to) !== undefined;
      },
      idMoved: (queue, id, from, to) => {
        if (this.isOver) return false;
        model.branches.sawFault("the place of an id told after a failure", to >= 0);
        return findId(queue, id, from)?.remembered.set(queue, to) !== undefined;
      },
      stretch: (run) => {
        if (!this.isOver) parts.stretch(run);
      },
      runMoved: (run, replaced) => (this.isOver ? [] : parts.moved(run, replaced)),
    };
  }

  private logger(): Logger {
    const { branches } = this.model;
    const heard =
      (hear: (text: string) => void): Logger["error"] =>
      (text) => {
        if (!this.isOver) hear(text);
      };
    return {
      ...silentLogger,
      error: heard((text) => {
        if (text.startsWith("a write of the journal failed")) {
          this.isDown = true;
          branches.sawFault("a write or sync failed");
        } else if (text.startsWith("could not go on")) branches.sawFault("going on failed too");
        else if (/damaged|missing/.test(text)) this.damageSaid.push(text);
      }),
      info: heard((text) => {
        if (!text.startsWith("the journal goes on")) return;
        this.isDown = false;
        branches.sawFault("the journal went on in another file");
      }),
      warn: heard((text) => {
        if (text.startsWith("could not make the next file")) branches.sawFault("a file made at a later try");
      }),
    };
  }
}
