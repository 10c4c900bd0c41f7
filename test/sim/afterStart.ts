/** After a start: all that is there, beside all that was promised. */
import type { SyncPolicy } from "../../src/log/contract/partitionedLog.ts";
import { folderFor, partitionFolder } from "../../src/log/embedded/segment/names.ts";
import type { Appending } from "./appending.ts";
import { type BitFlip, checkDamaged } from "./bitFlips.ts";
import type { Damage } from "./damage.ts";
import type { Keying } from "./keying.ts";
import type { Ended, Moment, PartitionModel } from "./partitionModel.ts";
import type { Queueing } from "./queueing.ts";
import type { Reading } from "./reading.ts";
import { textOf } from "./simulatedNode.ts";
import type { TopicModel } from "./topicModel.ts";
import type { Transacting } from "./transacting.ts";
import { demand } from "./violation.ts";
import { codeOf, type World } from "./world.ts";

export interface StartedWorld extends World {
  troubled: boolean;
  /** Waits until it ends, which it must, and well. */
  mustEnd<T>(promise: Promise<T>, what: string): Promise<T>;
  followDamage(): void;
}

/** How it was before the start. */
export interface LastEnd {
  /** Since the last start that came to its end. */
  readonly powerLost: boolean;
  /** It may have been about to cut what was not synced, or a sync failed in a start after it. */
  readonly inTrouble: boolean;
  readonly at: Moment;
  /** Nothing was delivered since a stop that came to its end. */
  readonly stopped: boolean;
}

export interface Parts {
  readonly topics: ReadonlyMap<string, TopicModel>;
  readonly appending: Appending;
  readonly reading: Reading;
  readonly queueing: Queueing;
  readonly transacting: Transacting;
  readonly keying: Keying;
}

export class AfterStart {
  private last: LastEnd = { powerLost: false, inTrouble: false, at: { ms: 0, turn: 0 }, stopped: false };

  constructor(
    private readonly world: StartedWorld,
    private readonly parts: Parts,
    private readonly damage: Damage,
  ) {}

  async look(last: LastEnd): Promise<void> {
    this.last = last;
    this.parts.reading.started();
    const names = new Set(this.world.node.log.topicNames());
    for (const { name } of [...this.parts.transacting.ledgers, ...this.parts.keying.topics])
      demand(names.delete(name), () => `topic ${name} is not there`);
    for (const topic of this.parts.topics.values()) {
      const isThere = names.delete(topic.name);
      demand(
        topic.existence === "unknown" || isThere === (topic.existence === "there"),
        () => `topic ${topic.name} is ${topic.existence}, and ${isThere ? "there" : "not there"}`,
      );
      topic.existence = isThere ? "there" : "gone";
      if (!isThere) topic.empty();
      for (const [partition, model] of topic.partitions.entries()) if (isThere) await this.lookAt(topic, partition, model);
    }
    demand(names.size === 0, () => `there are topics that nobody created: ${[...names].join(", ")}`);
    await this.world.mustEnd(this.parts.transacting.started(this.last.powerLost || this.last.inTrouble), "looking at the transactions");
    await this.world.mustEnd(this.lookAtKeys(), "looking at the compacted topics");
    const missing = await this.parts.queueing.started(last.stopped, this.damage.now ?? this.damage.forgiven, this.damage.now !== undefined);
    this.world.followDamage();
    demand(
      !missing || this.damage.said || this.damage.forgiven !== undefined,
      () => `messages are missing, and nobody says that ${this.damage.now?.file} is damaged`,
    );
  }

  private async lookAt(topic: TopicModel, partition: number, model: PartitionModel): Promise<void> {
    const log = this.world.node.log.topic(topic.name);
    if (log === undefined) return;
    const damaged = this.damage.now;
    if (damaged?.kind === ".log" && liesIn(damaged.file, topic.name, partition)) {
      return this.lookAtDamaged(topic, partition, model, damaged);
    }
    const found = await this.world.mustEnd(this.parts.reading.readAll(topic.name, partition), `reading all of ${model.where}`);
    const start = log.startOffset(partition);
    this.parts.reading.checkRetention(topic, model, start);
    model.started(
      found.filter(({ offset }) => offset >= start), // retention goes on meanwhile
      start,
      log.endOffset(partition),
      this.endedFor(topic.name, partition, model.sync.kind),
    );
    await this.parts.reading.searchSome(topic.name, partition, model);
    if (topic.isStream) return;
    for (const producer of topic.producers[partition] ?? []) {
      const kept = model.ofProducer(producer.name);
      producer.recovered(kept);
      const last = kept.at(-1);
      if (producer.id !== undefined || last === undefined) continue;
      const state = await this.world.mustEnd(
        this.world.node.log.producerState(producer.name, topic.name, partition),
        "asking where a producer stands",
      );
      demand(
        state?.epoch === producer.epoch && state.nextSequence === producer.nextSequence,
        () =>
          `producer ${producer.name} of ${model.where} stands at ${JSON.stringify(state)} and not at ${producer.epoch}/${producer.nextSequence}`,
      );
    }
    if (this.world.random.below(4) === 0) await this.parts.appending.checkRecognised(topic, partition);
  }

  private async lookAtKeys(): Promise<void> {
    const damaged = this.damage.now?.kind === ".log" ? this.damage.now.file : undefined;
    const refusals = await this.parts.keying.started(damaged, ({ name, config }) => this.endedFor(name, 0, config.sync.kind));
    this.world.followDamage();
    demand(
      damaged === undefined || refusals.every((refusal) => refusal.includes(damaged)),
      () => `${refusals.join("; ")}: a bit was flipped in ${damaged}`,
    );
  }

  private endedFor(topic: string, partition: number, sync: SyncPolicy["kind"]): Ended {
    return {
      powerLost: this.last.powerLost || (this.last.inTrouble && sync !== "always"),
      at: this.last.at,
      saidCut: () => this.damage.forgiven !== undefined && liesIn(this.damage.forgiven.file, topic, partition),
    };
  }

  private async lookAtDamaged(topic: TopicModel, partition: number, model: PartitionModel, flip: BitFlip): Promise<void> {
    const refusals: string[] = [];
    const found = await this.world.mustEnd(
      this.parts.reading.readAll(topic.name, partition, (error) => {
        if (codeOf(error) !== "LOG_CORRUPT") return false;
        refusals.push(textOf(error));
        return true;
      }),
      `reading all of ${model.where}`,
    );
    this.world.followDamage();
    if (refusals.length > 0) this.world.note("a damaged batch is refused, and the rest served");
    const start = this.world.node.log.topic(topic.name)?.startOffset(partition) ?? 0; // retention goes on meanwhile
    this.parts.reading.checkRetention(topic, model, start);
    const isStrict = flip.touched?.isProven === true && !this.last.powerLost && !this.damage.inTroubleBefore && start === model.startOffset;
    checkDamaged(model, flip, found, start, refusals, this.damage.said || this.last.powerLost, isStrict);
    if (!isStrict) return;
    await this.world.mustEnd(this.world.node.log.sync(topic.name), `taking appends in ${model.where}, which is damaged`);
    this.world.note("a damaged partition costs what is damaged, and takes appends");
  }
}

/** A topic that is made while the folder of an earlier one of its name is still there has one with another name. */
const liesIn = (file: string, topic: string, partition: number): boolean =>
  [topic, folderFor(topic, new Set([topic.toLowerCase()]))].some((folder) => file.includes(`/${partitionFolder(folder, partition)}/`));
