/** What a compacted topic holds after a start, beside all that was promised of it. */
import type { KeyedTransaction } from "./keyedModel.ts";
import { type KeyedBatch, readBatches } from "./keyedReading.ts";
import type { KeyedProducer, KeyedTopic } from "./keyedTopic.ts";
import type { Ended } from "./partitionModel.ts";
import { demand } from "./violation.ts";
import { codeOf, type World } from "./world.ts";

export class KeyedStart {
  constructor(private readonly world: World) {}

  async look(topic: KeyedTopic, ended: Ended): Promise<void> {
    const log = topic.log(this.world);
    const began = log.startOffset(0);
    const batches = await this.readAll(topic);
    const start = log.startOffset(0);
    if (start !== began) return this.look(topic, ended); // retention goes on meanwhile
    topic.model.started(batches, start, log.endOffset(0), ended, this.world.now());
    const open = this.checkEnds(topic, batches, ended);
    await this.checkOpen(topic, open, start);
    for (const producer of topic.producers) this.takeUp(topic, producer, batches, open.get(producer.id));
  }

  /** The log says the same of what is open. One whose batches all went with their age is aborted like the others. */
  private async checkOpen(topic: KeyedTopic, open: Map<number, KeyedTransaction>, start: number): Promise<void> {
    const asked = await topic.log(this.world).openTransactions(0);
    for (const { producerId, firstOffset } of asked) {
      if (firstOffset >= start || open.has(Number(producerId))) continue;
      open.set(Number(producerId), { outcome: "abort", ended: false, appends: [] });
    }
    const ids = asked.map(({ producerId }) => Number(producerId)).sort();
    const expected = [...open.keys()].sort();
    demand(ids.join() === expected.join(), () => `${topic.name} has open transactions of ${ids.join()}, and not of ${expected.join()}`);
  }

  /** Each transaction ended as it was asked to. @returns the open ones, by their producers */
  private checkEnds(topic: KeyedTopic, batches: readonly KeyedBatch[], ended: Ended): Map<number, KeyedTransaction> {
    const open = new Map<number, KeyedTransaction>();
    const emptied = new Set<number>();
    for (const { producer, isMarker, isTransactional, outcome, records } of batches) {
      const transaction = open.get(Number(producer));
      if (isMarker) {
        demand(
          transaction === undefined || transaction.outcome === outcome,
          () => `${topic.name} has a marker to ${outcome} of ${producer}, where ${transaction?.outcome} was asked for`,
        );
        open.delete(Number(producer));
        emptied.delete(Number(producer));
      } else if (isTransactional && records.length > 0) {
        const found = topic.model.recognised(records[0] as (typeof records)[number]).append.transaction;
        if (found !== undefined) open.set(Number(producer), found);
      } else if (isTransactional) emptied.add(Number(producer));
    }
    const mayLose = ended.saidCut() || (ended.powerLost && topic.config.sync.kind !== "always");
    for (const [producer, { ended: wasEnded }] of open) {
      demand(!wasEnded || mayLose, () => `the end of a transaction of ${producer} in ${topic.name} is lost`);
    }
    for (const producer of emptied) {
      // its records went as it had ended, and then its marker was lost, now or before an earlier start
      const isKnown = topic.producers.some(({ id, current }) => id === producer && current?.appends.length === 0);
      if (!open.has(producer) && (mayLose || isKnown)) open.set(producer, { outcome: "abort", ended: false, appends: [] });
    }
    return open;
  }

  private takeUp(topic: KeyedTopic, producer: KeyedProducer, batches: readonly KeyedBatch[], open: KeyedTransaction | undefined): void {
    producer.busy = false;
    producer.history = [];
    if (producer.isTransactional) {
      producer.epoch++;
      producer.sequence = 0;
      producer.current = open;
      if (open === undefined) return;
      this.world.note("a transaction of keys is open after a start");
      open.ended = false; // with a policy that may lose the end of the log
      open.outcome ??= "abort";
      return;
    }
    const kept = topic.model.ofProducer(String(producer.id));
    const last = kept.at(-1);
    if (last === undefined) {
      producer.epoch++;
      producer.sequence = 0;
      return;
    }
    demand(
      batches.some(({ base }) => base === last.base),
      () => `${topic.name} does not hold the last batch of producer ${producer.id}, at offset ${last.base}`,
    );
    producer.epoch = last.sequenced?.epoch as number;
    producer.sequence = (last.sequenced?.firstSequence as number) + last.records.length;
    producer.history = kept.filter(({ sequenced }) => sequenced?.epoch === producer.epoch);
  }

  /** What is served is right. */
  async lookAtDamaged(topic: KeyedTopic, refusals: string[]): Promise<void> {
    const batches = await this.readAll(topic, (error) => {
      if (codeOf(error) !== "LOG_CORRUPT") return false;
      refusals.push(String((error as { toText?(): string }).toText?.() ?? error));
      return true;
    });
    for (const { records } of batches) for (const record of records) topic.model.recognised(record);
  }

  private async readAll(topic: KeyedTopic, tolerated?: (error: unknown) => boolean): Promise<KeyedBatch[]> {
    const [descriptor] = topic.log(this.world).description.partitions;
    const reader = await this.world.node.log.openReader(descriptor as NonNullable<typeof descriptor>);
    const batches = await readBatches(reader, reader.startOffset(), tolerated);
    await reader.close();
    return batches;
  }
}
