/** Readers of compacted topics, that read on while passes go over them. */
import type { Isolation, PartitionReader } from "../../src/log/contract/partitionedLog.ts";
import { batchesOf } from "./keyedReading.ts";
import type { KeyedTopic } from "./keyedTopic.ts";
import { demand } from "./violation.ts";
import { codeOf, mayGoBack, type Operation, unexpected, type World } from "./world.ts";

interface OpenReader {
  readonly topic: KeyedTopic;
  readonly reader: PartitionReader;
  readonly isolation: Isolation;
  next: number;
}

const hourMs = 3_600_000;
const readersMax = 4;

export class KeyedReaders {
  private open: OpenReader[] = [];

  constructor(
    private readonly world: World,
    private readonly topics: readonly KeyedTopic[],
  ) {}

  get operations(): readonly Operation[] {
    return [
      { name: "read on in a compacted topic", weight: 5, run: () => this.read() },
      { name: "search a compacted topic by time", weight: 1, run: () => this.search() },
    ];
  }

  /** The process that had them open is dead. */
  started(): void {
    this.open = [];
  }

  private async reader(): Promise<OpenReader | undefined> {
    const { random, node } = this.world;
    if (this.open.length > 0 && (this.open.length >= readersMax || random.below(3) > 0)) {
      if (random.below(12) > 0) return random.pick(this.open);
      const [closed] = this.open.splice(random.below(this.open.length), 1);
      await this.world.until((closed as OpenReader).reader.close());
      return undefined;
    }
    const topic = random.pick(this.topics);
    const isolation = random.pick<Isolation>(["read_uncommitted", "read_committed"]);
    const [descriptor] = topic.log(this.world).description.partitions;
    const reader = await node.log.openReader(descriptor as NonNullable<typeof descriptor>, { isolation });
    const opened = { topic, reader, isolation, next: reader.startOffset() };
    this.open.push(opened);
    return opened;
  }

  private async read(): Promise<void> {
    const one = await this.reader();
    if (one === undefined) return;
    const { random } = this.world;
    const { reader, topic, isolation } = one;
    const [start, end] = [reader.startOffset(), reader.highWatermark()];
    if (one.next < start || one.next >= end) one.next = start + random.below(Math.max(1, end - start));
    const from = one.next;
    const { cuts } = topic;
    const began = this.world.now();
    const outcome = await this.world.until(reader.read(from, 1 + random.below(3000)));
    if (outcome === undefined || cuts !== topic.cuts) return;
    if (outcome.error !== undefined) return this.checkFailure(one, from, outcome.error);
    const batches = batchesOf(outcome.value);
    const hasGoneBack = mayGoBack(this.world, topic.config.sync) && from >= reader.highWatermark();
    demand(
      batches.length > 0 || from >= end || hasGoneBack,
      () => `${topic.model.where}: nothing is read at ${from}, below the end at ${end}`,
    );
    const to = batches.at(-1)?.next ?? from;
    topic.followStart(this.world);
    const found = batches.flatMap(({ records }) => records).filter(({ offset }) => offset >= topic.model.startOffset);
    const now = this.world.now();
    const covered = Math.max(from, topic.model.startOffset);
    if (isolation === "read_committed") topic.model.readCommitted(found, covered, to, began, now);
    else topic.model.read(found, covered, to, began, now);
    one.next = to;
  }

  private async search(): Promise<void> {
    const one = await this.reader();
    if (one === undefined || one.isolation === "read_committed") return;
    const { reader, topic } = one;
    const timestamp = this.world.now().ms - this.world.random.below(this.world.random.pick([2000, 10 * hourMs]));
    const [from, to, { cuts }] = [reader.startOffset(), reader.highWatermark(), topic];
    const outcome = await this.world.until(reader.offsetForTimestamp(timestamp));
    if (outcome === undefined || cuts !== topic.cuts) return;
    if (outcome.error !== undefined) return this.checkFailure(one, undefined, outcome.error);
    if (mayGoBack(this.world, topic.config.sync)) return;
    topic.followStart(this.world);
    topic.model.foundTimestamp(timestamp, outcome.value, Math.max(from, topic.model.startOffset), to, this.world.now());
  }

  private checkFailure({ reader, topic }: OpenReader, from: number | undefined, error: unknown): void {
    const code = codeOf(error);
    const { cleanupPolicy, sync } = topic.config;
    const isOut = from === undefined || from < reader.startOffset() || from > reader.highWatermark();
    if (code === "OFFSET_OUT_OF_RANGE" && cleanupPolicy === "compact,delete" && isOut) return;
    if (code === "LOG_CORRUPT" && mayGoBack(this.world, sync)) return;
    if (code === "LOG_READ_FAILED" && this.world.troubled) return this.world.note("a read of a compacted topic fails and says so");
    throw unexpected(`reading ${topic.model.where} at ${from}`, error);
  }
}
