import type { Random } from "../../src/base/random.ts";
import type { SyncPolicy } from "../../src/log/contract/partitionedLog.ts";
import type { Reading } from "./reading.ts";
import { TopicModel } from "./topicModel.ts";
import { codeOf, type Operation, type World } from "./world.ts";

const dayMs = 24 * 3_600_000;
const interval: SyncPolicy = { kind: "interval", ms: 20 };

/** More than what is read at a time where only headers are looked at. */
export const largeBytesMax = 100_000;

/** Those that are there from the beginning: every policy, with and without indexes, retention, both kinds of timestamps. */
export function firstTopics(): TopicModel[] {
  return [
    new TopicModel("always", { partitions: 2, sync: { kind: "always" }, segmentBytes: 3000 }, false),
    new TopicModel("indexed", { partitions: 1, sync: interval, segmentBytes: 20_000 }, false),
    new TopicModel("large", { partitions: 1, sync: { kind: "always" }, segmentBytes: 250_000, maxMessageBytes: largeBytesMax }, false),
    new TopicModel("never", { partitions: 1, sync: { kind: "never" }, segmentBytes: 9000, timestampType: "LogAppendTime" }, false),
    new TopicModel("sized", { partitions: 1, sync: { kind: "always" }, segmentBytes: 2500, retentionBytes: 6000 }, false),
    new TopicModel("aged", { partitions: 1, sync: interval, segmentBytes: 4000, segmentMs: 3_600_000, retentionMs: dayMs }, false),
  ];
}

/** Topics that come and go. */
export class TopicLives {
  constructor(
    private readonly world: World,
    private readonly topics: Map<string, TopicModel>,
    private readonly reading: Reading,
  ) {}

  get operations(): readonly Operation[] {
    return [{ name: "create or delete a topic", weight: 3, run: () => this.createOrDelete() }];
  }

  private async createOrDelete(): Promise<void> {
    const { random, node, life } = this.world;
    const name = `extra${random.below(3)}`;
    const existing = this.topics.get(name);
    if (existing?.existence === "unknown") return;
    const deletes = existing?.existence === "there";
    const topic = deletes ? existing : newTopic(name, random);
    this.topics.set(name, topic);
    topic.existence = "unknown";
    const work = deletes ? node.log.deleteTopic(name) : node.log.createTopic(name, topic.config);
    const done = work.then(() => {
      if (life !== this.world.life) return;
      topic.existence = deletes ? "gone" : "there";
      if (!deletes) this.reading.watch(topic);
    });
    done.catch((error: unknown) => {
      if (life !== this.world.life) return;
      const code = codeOf(error);
      if (code === "KEYED_STORE_FAILED") this.world.note("a change of topics fails with KEYED_STORE_FAILED");
      if (code !== "KEYED_STORE_UNAVAILABLE") return;
      this.world.note("a change of topics is refused with KEYED_STORE_UNAVAILABLE");
      if (!deletes) topic.existence = "gone";
    });
    const outcome = random.below(3) === 0 ? undefined : await this.world.until(done);
    if (outcome?.error !== undefined) this.reading.ofDisk(`${deletes ? "deleting" : "creating"} ${name}`, outcome.error);
  }
}

function newTopic(name: string, random: Random): TopicModel {
  const sync = random.pick<SyncPolicy>([{ kind: "always" }, interval, { kind: "never" }]);
  const sizes = random.pick([{ segmentBytes: 1500 }, { segmentBytes: 6000 }, { segmentBytes: 250_000, maxMessageBytes: largeBytesMax }]);
  return new TopicModel(name, { partitions: 1 + random.below(2), sync, ...sizes }, false);
}
